//! The text format of Prometheus (version 0.0.4), as far as counters, gauges and histograms need it.

use std::fmt::{Display, Write as _};

use tracker::Distribution;

/// A page of metrics that grows. A name's samples stand together, after its help and kind.
#[derive(Debug, Default)]
pub(super) struct Exposition(String);

impl Exposition {
    /// A value that goes up and down.
    pub(super) fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.one(name, help, "gauge", value);
    }

    /// A value that only goes up.
    pub(super) fn counter(&mut self, name: &str, help: &str, value: impl Display) {
        self.one(name, help, "counter", value);
    }

    /// A constant with words about it.
    pub(super) fn info(&mut self, name: &str, help: &str, labels: &[(&str, &str)]) {
        self.head(name, help, "gauge");
        let labels = labels.iter().map(|(label, value)| format!("{label}=\"{}\"", escaped(value)));
        let labels: Vec<String> = labels.collect();
        self.line(format_args!("{name}{{{}}} 1", labels.join(",")));
    }

    /// How durations are spread, in seconds.
    pub(super) fn histogram(&mut self, name: &str, help: &str, of: &Distribution) {
        self.head(name, help, "histogram");
        for (bound, count) in &of.cumulative {
            let bound = bound.map_or_else(|| "+Inf".to_owned(), |at| at.as_secs_f64().to_string());
            self.line(format_args!("{name}_bucket{{le=\"{bound}\"}} {count}"));
        }
        let count = of.cumulative.last().map_or(0, |(_, count)| *count);
        self.line(format_args!("{name}_sum {}", of.sum.as_secs_f64()));
        self.line(format_args!("{name}_count {count}"));
    }

    /// The whole page.
    pub(super) fn finish(self) -> String {
        self.0
    }

    fn one(&mut self, name: &str, help: &str, kind: &str, value: impl Display) {
        self.head(name, help, kind);
        self.line(format_args!("{name} {value}"));
    }

    fn head(&mut self, name: &str, help: &str, kind: &str) {
        self.line(format_args!("# HELP {name} {help}"));
        self.line(format_args!("# TYPE {name} {kind}"));
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        _ = writeln!(self.0, "{line}");
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Reads a page as a scraper does, and fails on what one would refuse: samples without a kind, of an
/// unknown kind or apart from each other, names twice, buckets out of order.
#[cfg(test)]
pub(super) fn check(text: &str) -> std::collections::BTreeMap<String, f64> {
    use std::collections::{BTreeMap, BTreeSet};

    assert!(text.ends_with('\n'), "the last line ends too");
    let (mut samples, mut families) = (BTreeMap::new(), BTreeSet::new());
    let mut family: (&str, &str) = ("", "");
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            assert!(help.split_once(' ').is_some_and(|(_, words)| !words.is_empty()), "{line}");
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            family = kind.split_once(' ').expect("a name and a kind");
            assert!(["counter", "gauge", "histogram"].contains(&family.1), "{line}");
            assert!(families.insert(family.0), "{} comes twice", family.0);
            let is_name =
                |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
            assert!(family.0.bytes().all(is_name), "{line}");
            assert_eq!(family.0.ends_with("_total"), family.1 == "counter", "{line}");
        } else {
            let (sample, value) = line.rsplit_once(' ').expect("a sample and its value");
            let name = sample.split_once('{').map_or(sample, |(name, labels)| {
                let labels = labels.strip_suffix('}').expect("labels end");
                for label in labels.split("\",") {
                    let (key, value) = label.split_once("=\"").expect("a label and its value");
                    assert!(!key.is_empty() && !value.contains('\n'), "{line}");
                }
                name
            });
            let suffix = name.strip_prefix(family.0).expect("samples stand with their kind");
            let suffixes: &[&str] = match family.1 {
                "histogram" => &["_bucket", "_sum", "_count"],
                _ => &[""],
            };
            assert!(suffixes.contains(&suffix), "{line}");
            let value: f64 = value.parse().expect("a number");
            assert!(value.is_finite(), "{line}");
            assert_eq!(samples.insert(sample.to_owned(), value), None, "{line} comes twice");
        }
    }
    check_histograms(text, &samples);
    samples
}

#[cfg(test)]
fn check_histograms(text: &str, samples: &std::collections::BTreeMap<String, f64>) {
    let histograms =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" histogram"));
    for name in histograms {
        let prefix = format!("{name}_bucket{{le=\"");
        let buckets =
            text.lines().filter_map(|line| line.strip_prefix(&prefix)?.split_once("\"} "));
        let number = |text: &str| text.replace("+Inf", "inf").parse::<f64>().expect("a number");
        let buckets: Vec<_> = buckets.map(|(le, count)| (number(le), number(count))).collect();
        assert!(buckets.is_sorted(), "{name}: {buckets:?}");
        let last = buckets.last().expect("one at least");
        assert_eq!(*last, (f64::INFINITY, samples[&format!("{name}_count")]), "{name}");
        assert!(samples.contains_key(&format!("{name}_sum")), "{name}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_cannot_leave_their_label() {
        let mut page = Exposition::default();
        page.info("teem_info", "About it.", &[("version", "1\"} 9\n# x\\"), ("name", "a,b")]);
        let samples = check(&page.finish());
        assert_eq!(samples.len(), 1);
    }
}
