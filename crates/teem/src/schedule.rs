//! Limits that follow the clock: `full speed 20:00-07:00; 500K down mon-fri 09:00-17:00`.

use std::str::FromStr;
use std::time::Duration;

use jiff::Zoned;
use jiff::civil::Weekday;
use node::{Limiter, Rates};

use crate::units::parse_size;

/// Rules; where several hold at once, the last one counts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Schedule(Vec<Rule>);

/// What holds on some days, for some time.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    what: What,
    /// On which days it begins, Monday first.
    days: [bool; 7],
    /// Minutes of the day. One that ends before it begins ends on the next day.
    from: u16,
    until: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    FullSpeed,
    Down(u64),
    Up(u64),
    Both(u64),
}

impl Schedule {
    /// Keeps the limits to the schedule, and to `usual` where it says nothing. Never ends.
    pub(crate) async fn keep(self, limiter: Limiter, usual: Rates) {
        loop {
            let now = Zoned::now();
            let minute = now.hour() as u16 * 60 + now.minute() as u16;
            let rates = self.rates(now.weekday(), minute, usual);
            if rates != limiter.rates() {
                tracing::info!(down = ?rates.down, up = ?rates.up, "limits of the schedule");
                limiter.set(rates);
            }
            // Clocks are set, and machines sleep: look once a minute.
            let rest = 60 - u64::from(now.second().unsigned_abs().min(59));
            tokio::time::sleep(Duration::from_secs(rest)).await;
        }
    }

    fn rates(&self, day: Weekday, minute: u16, usual: Rates) -> Rates {
        let holding = self.0.iter().filter(|rule| rule.holds(day, minute));
        holding.fold(usual, |rates, rule| match rule.what {
            What::FullSpeed => Rates::default(),
            What::Down(rate) => Rates { down: Some(rate), ..rates },
            What::Up(rate) => Rates { up: Some(rate), ..rates },
            What::Both(rate) => Rates { down: Some(rate), up: Some(rate) },
        })
    }
}

impl Rule {
    fn holds(&self, day: Weekday, minute: u16) -> bool {
        let begins_on = |day: Weekday| self.days[day.to_monday_zero_offset() as usize];
        if self.from < self.until {
            return begins_on(day) && (self.from..self.until).contains(&minute);
        }
        (begins_on(day) && minute >= self.from)
            || (begins_on(day.previous()) && minute < self.until)
    }
}

impl FromStr for Schedule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rules = text.split([';', ',']).map(str::trim).filter(|rule| !rule.is_empty());
        let rules: Vec<Rule> = rules.map(str::parse).collect::<Result<_, _>>()?;
        if rules.len() > RULES_MAX {
            return Err(format!("at most {RULES_MAX} rules"));
        }
        Ok(Self(rules))
    }
}

impl FromStr for Rule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || {
            format!(
                "{text:?} is no rule such as \"full speed 20:00-07:00\" or \"500K down mon-fri 9:00-17:00\""
            )
        };
        let words: Vec<String> = text.split_whitespace().map(str::to_lowercase).collect();
        let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
        let (from, until) =
            words.pop().and_then(|times| times.split_once('-')).ok_or_else(refused)?;
        let (from, until) = (minute(from).ok_or_else(refused)?, minute(until).ok_or_else(refused)?);
        if from == until || from == DAY {
            return Err(format!("{text:?} begins when it ends"));
        }
        let days = words.last().and_then(|word| days(word));
        if days.is_some() {
            words.pop();
        }
        let rate = |rate: &str| parse_size(rate).map_err(|_| refused());
        let what = match words.as_slice() {
            ["full", "speed"] => What::FullSpeed,
            [amount] => What::Both(rate(amount)?),
            [amount, "down"] => What::Down(rate(amount)?),
            [amount, "up"] => What::Up(rate(amount)?),
            _ => return Err(refused()),
        };
        Ok(Self { what, days: days.unwrap_or([true; 7]), from, until })
    }
}

/// Reads `9:30`; 24:00 is the end of a day.
fn minute(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let digits = |text: &str| text.len() <= 2 && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(hour) || !digits(minute) || minute.len() != 2 {
        return None;
    }
    let (hour, minute): (u16, u16) = (hour.parse().ok()?, minute.parse().ok()?);
    let all = hour * 60 + minute;
    (minute < 60 && all <= DAY).then_some(all)
}

/// Reads `sat`, `mon-fri`, `weekdays` or `weekends`.
fn days(text: &str) -> Option<[bool; 7]> {
    let named = |name: &str| DAYS.iter().position(|day| *day == name);
    let (first, last) = match text {
        "weekdays" => (0, 4),
        "weekends" => (5, 6),
        _ => match text.split_once('-') {
            Some((first, last)) => (named(first)?, named(last)?),
            None => (named(text)?, named(text)?),
        },
    };
    let len = (last + 7 - first) % 7 + 1;
    let mut days = [false; 7];
    (first..first + len).for_each(|day| days[day % 7] = true);
    Some(days)
}

/// Minutes.
const DAY: u16 = 24 * 60;
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
/// More than anybody reads.
const RULES_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    const USUAL: Rates = Rates { down: Some(1_000), up: Some(100) };

    fn at(schedule: &str, day: Weekday, time: &str) -> (Option<u64>, Option<u64>) {
        let schedule: Schedule = schedule.parse().unwrap();
        let Rates { down, up } = schedule.rates(day, minute(time).unwrap(), USUAL);
        (down, up)
    }

    #[test]
    fn nights_and_days_have_their_own_limits() {
        let night = "full speed 20:00-07:00";
        let usual = (USUAL.down, USUAL.up);
        for (time, expected) in [
            ("19:59", usual),
            ("20:00", (None, None)),
            ("00:00", (None, None)),
            ("06:59", (None, None)),
            ("7:00", usual),
        ] {
            assert_eq!(at(night, Weekday::Wednesday, time), expected, "{time}");
        }
    }

    #[test]
    fn days_are_those_on_which_a_rule_begins() {
        let weekend = "full speed sat-sun 22:00-6:00";
        let free = |day, time| at(weekend, day, time) == (None, None);
        assert!(free(Weekday::Saturday, "23:00") && free(Weekday::Monday, "5:59"));
        assert!(!free(Weekday::Friday, "23:00") && !free(Weekday::Saturday, "5:00"));
        let around = "1K weekdays 9:00-17:00; 2K down fri-mon 12:00-24:00";
        assert_eq!(at(around, Weekday::Friday, "13:00"), (Some(2_048), Some(1_024)));
        assert_eq!(at(around, Weekday::Sunday, "23:59"), (Some(2_048), USUAL.up));
        assert_eq!(at(around, Weekday::Wednesday, "13:00"), (Some(1_024), Some(1_024)));
    }

    #[test]
    fn last_rule_counts_and_directions_are_apart() {
        let rules = "5K 0:00-24:00, 9K up 10:00-11:00";
        assert_eq!(at(rules, Weekday::Monday, "9:00"), (Some(5_120), Some(5_120)));
        assert_eq!(at(rules, Weekday::Monday, "10:30"), (Some(5_120), Some(9_216)));
        assert_eq!(at("", Weekday::Monday, "10:30"), (USUAL.down, USUAL.up));
    }

    #[test]
    fn nonsense_is_refused_and_named() {
        for text in [
            "full speed",
            "20:00-07:00",
            "full speed 20-7",
            "full speed 25:00-7:00",
            "full speed 7:60-8:00",
            "fast 1:00-2:00",
            "1K sideways 1:00-2:00",
            "1K down noday 1:00-2:00",
            "1K 1:00-1:00",
            "full speed 1:0-2:00",
        ] {
            assert!(text.parse::<Schedule>().unwrap_err().contains(text), "{text}");
        }
    }
}
