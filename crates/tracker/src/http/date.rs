//! The time as HTTP writes it (RFC 9110, 5.6.7).

use std::cell::RefCell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Calls `with` with the time; it is written anew once a second in each thread.
pub(super) fn with_date<T>(with: impl FnOnce(&str) -> T) -> T {
    thread_local! {
        static WRITTEN: RefCell<(u64, String)> = const { RefCell::new((0, String::new())) };
    }
    WRITTEN.with_borrow_mut(|(second, text)| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        if *second != now || text.is_empty() {
            *second = now;
            *text = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(now));
        }
        with(text)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_is_that_of_now() {
        let text = with_date(str::to_owned);
        assert!(text.len() == 29 && text.ends_with(" GMT"), "{text}");
        let since = SystemTime::now().duration_since(httpdate::parse_http_date(&text).unwrap());
        assert!(since.unwrap() < Duration::from_secs(60), "{text}");
        assert_eq!(with_date(str::len), 29);
    }
}
