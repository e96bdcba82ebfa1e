//! Sizes, times and the like as people write and read them.
//!
//! Sizes are binary: `512K`, `512KiB` and `524288` are one size, as in every BitTorrent client.

use std::time::Duration;

/// Reads a size: digits and an optional unit (`K`, `M`, `G`, `T`, with or without `B` or `iB`).
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim().to_ascii_lowercase();
    let shift = match unit.trim_end_matches('b').trim_end_matches('i') {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return Err("expected a size such as 512K, 1M or 1048576".to_owned()),
    };
    let number: u64 = number.parse().map_err(|_| "expected a size such as 512K".to_owned())?;
    number.checked_mul(1 << shift).ok_or_else(|| "that size is too large".to_owned())
}

/// Reads a piece length: a power of two from 16 KiB (BEP 52) to 512 MiB.
pub(crate) fn parse_piece_length(text: &str) -> Result<u32, String> {
    let size = parse_size(text)?;
    if !size.is_power_of_two() || !(PIECE_LEN_MIN..=PIECE_LEN_MAX).contains(&size) {
        return Err("a piece length is a power of two from 16K to 512M".to_owned());
    }
    Ok(size as u32)
}

/// Reads a time: seconds, or digits with `s`, `m`, `h` or `d`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let refused = || "expected a time such as 90, 90s, 10m, 2h or 1d".to_owned();
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor = match unit {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(refused()),
    };
    let number: u64 = number.parse().map_err(|_| refused())?;
    let seconds = number.checked_mul(factor).filter(|seconds| *seconds <= DURATION_SECS_MAX);
    seconds.map(Duration::from_secs).ok_or_else(|| "that time is too long".to_owned())
}

/// Reads the URL of a web seed (BEP 19).
pub(crate) fn parse_web_seed(text: &str) -> Result<String, String> {
    let is_usable = proto::metainfo::is_web_seed(text) && url::Url::parse(text).is_ok();
    let fits = text.len() <= proto::metainfo::limits::URL_LEN_MAX;
    match (is_usable, fits) {
        (true, true) => Ok(text.to_owned()),
        (true, false) => Err("that URL is too long".to_owned()),
        (false, _) => Err("expected a URL of http or https".to_owned()),
    }
}

/// Reads a share ratio: a number that is not negative.
pub(crate) fn parse_ratio(text: &str) -> Result<f64, String> {
    let ratio: f64 = text.parse().map_err(|_| "expected a number such as 1 or 2.5".to_owned())?;
    if ratio.is_finite() && ratio >= 0.0 {
        Ok(ratio)
    } else {
        Err("a ratio is not negative".to_owned())
    }
}

/// Writes a size: three digits that matter and a unit.
pub(crate) fn size(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    // 999.5 and more would print as four digits.
    while value >= 999.5 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    let decimals = if value < 9.995 {
        2
    } else if value < 99.95 {
        1
    } else {
        0
    };
    format!("{value:.decimals$} {}", units[unit])
}

/// Writes a rate.
pub(crate) fn rate(bytes_per_second: u64) -> String {
    format!("{}/s", size(bytes_per_second))
}

/// Writes a time in the two largest units that matter.
pub(crate) fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..10 => format!("{:.1} s", time.as_secs_f64()),
        10..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{} h {:02} min", seconds / 3_600, seconds % 3_600 / 60),
        86_400.. => format!("{} d {:02} h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

const PIECE_LEN_MIN: u64 = 16 << 10;
const PIECE_LEN_MAX: u64 = 512 << 20;
/// A century: beyond it, adding to a clock could overflow.
const DURATION_SECS_MAX: u64 = 100 * 365 * 86_400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_binary_in_every_spelling() {
        for text in ["512K", "512k", "512KB", "512KiB", "512 KiB", "524288"] {
            assert_eq!(parse_size(text), Ok(524_288), "{text}");
        }
        for text in ["", "K", "-1", "1.5M", "1X", "99999999999T", "18446744073709551616"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn piece_lengths_are_powers_of_two_from_16_kib() {
        assert_eq!(parse_piece_length("16K"), Ok(16_384));
        assert_eq!(parse_piece_length("512M"), Ok(512 << 20));
        for text in ["8K", "0", "48K", "1G"] {
            assert!(parse_piece_length(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_have_units() {
        assert_eq!(parse_duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("2h"), Ok(Duration::from_secs(7_200)));
        for text in ["", "h", "-3", "1w", "18446744073709551615d", "9999999d"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_written_with_three_digits() {
        let written = [0, 1_023, 1_024, 1_048_000, 1_048_576, 15 << 20, 2 << 30, u64::MAX];
        let expected = [
            "0 B", "1023 B", "1.00 KiB", "1.00 MiB", "1.00 MiB", "15.0 MiB", "2.00 GiB", "16.0 EiB",
        ];
        assert_eq!(written.map(size), expected);
    }

    #[test]
    fn ratios_are_finite_and_not_negative() {
        assert_eq!(parse_ratio("1.5"), Ok(1.5));
        for text in ["-1", "nan", "inf", "x"] {
            assert!(parse_ratio(text).is_err(), "{text}");
        }
    }
}
