"""What a tracker counts, as its operator reads it."""

import web


def page(tracker):
    """The whole page."""
    status, text = web.request(tracker.listener("admin"), "GET", "/metrics")
    assert status == 200, text
    return text.decode()


def number(tracker, name):
    """One number of the page, by its name and labels."""
    lines = [line.rsplit(" ", 1) for line in page(tracker).splitlines() if not line.startswith("#")]
    numbers = {name: float(value) for name, value in lines}
    assert name in numbers, f"no {name} among the metrics"
    return numbers[name]
