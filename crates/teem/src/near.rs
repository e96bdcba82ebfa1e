//! "Did you mean …?": the known name that is nearest to a mistyped one.

/// The nearest of `names`, if it is near enough to be meant: one typing error for each three
/// characters, in any case of letters, or a beginning of it.
pub(crate) fn nearest<'a>(typed: &str, names: &'a [String]) -> Option<&'a str> {
    let typed = typed.to_lowercase();
    let length = typed.chars().count();
    if length > LEN_MAX {
        return None;
    }
    let best = names.iter().filter(|name| name.chars().count() <= LEN_MAX).map(|name| {
        let lower = name.to_lowercase();
        let distance =
            if length >= 3 && lower.starts_with(&typed) { 1 } else { distance(&typed, &lower) };
        (distance, name.as_str())
    });
    let (distance, name) = best.min()?;
    (distance <= (length / 3).max(1)).then_some(name)
}

/// Insertions, deletions, replacements and swaps of neighbours from one text to the other.
fn distance(from: &str, to: &str) -> usize {
    let from: Vec<char> = from.chars().collect();
    let to: Vec<char> = to.chars().collect();
    let mut before_last = vec![0; to.len() + 1];
    let mut last: Vec<usize> = (0..=to.len()).collect();
    for row in 1..=from.len() {
        let mut current = vec![row; to.len() + 1];
        for column in 1..=to.len() {
            let differs = usize::from(from[row - 1] != to[column - 1]);
            let mut cost =
                (last[column - 1] + differs).min(last[column] + 1).min(current[column - 1] + 1);
            let swapped = row > 1
                && column > 1
                && from[row - 1] == to[column - 2]
                && from[row - 2] == to[column - 1];
            if swapped {
                cost = cost.min(before_last[column - 2] + 1);
            }
            current[column] = cost;
        }
        before_last = std::mem::replace(&mut last, current);
    }
    last[to.len()]
}

/// Longer names are not compared: the work grows with the square.
const LEN_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_error_finds_the_name_and_a_stranger_does_not() {
        let names = ["debian-13.iso", "ubuntu.iso", "b"].map(str::to_owned);
        let cases = [
            ("debain-13.iso", Some("debian-13.iso")),
            ("Ubuntu.ISO", Some("ubuntu.iso")),
            ("debian", Some("debian-13.iso")),
            ("a", Some("b")),
            ("holiday", None),
        ];
        for (typed, expected) in cases {
            assert_eq!(nearest(typed, &names), expected, "{typed}");
        }
        assert_eq!(nearest("a", &[]), None);
    }

    #[test]
    fn swapped_neighbours_are_one_error() {
        assert_eq!(distance("abcd", "abdc"), 1);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
