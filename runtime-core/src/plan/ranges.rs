//! Lists of numbers as the kernel writes sets of processors and memory nodes: `0-3,7`.
//!
//! What must hold: what is in a list is a number that a bit mask of a reasonable size can hold, so that a
//! list of a few bytes cannot ask for a mask of gigabytes.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The highest number that is taken, as in runc.
const MAX: u32 = 64 * 1024;

/// A set of numbers, as inclusive ranges in the order of the list.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Ranges(pub Vec<(u32, u32)>);

impl Ranges {
    /// Reads a list. Blanks around its elements and empty elements mean nothing; a list without any element
    /// is the empty set.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(list: &str) -> Result<Ranges, String> {
        let mut ranges = Vec::new();
        for item in list.split(',').map(str::trim).filter(|item| !item.is_empty()) {
            let (from, to) = item.split_once('-').unwrap_or((item, item));
            let (from, to) = (number(from)?, number(to)?);
            if from > to {
                return Err(format!("invalid range: {item}"));
            }
            ranges.push((from, to));
        }
        Ok(Ranges(ranges))
    }

    /// Whether there is no number in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many numbers there are.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.mask().iter().map(|word| word.count_ones()).sum()
    }

    /// The set as a bit mask, in words of the machine's order.
    #[must_use]
    pub fn mask(&self) -> Vec<u64> {
        let end = self.0.iter().map(|r| r.1.min(MAX) as usize + 1).max().unwrap_or(0);
        let mut mask = vec![0u64; end.div_ceil(64)];
        for (from, to) in &self.0 {
            for n in *from..=(*to).min(MAX) {
                if let Some(word) = mask.get_mut(n as usize / 64) {
                    *word |= 1 << (n % 64);
                }
            }
        }
        mask
    }
}

fn number(text: &str) -> Result<u32, String> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match text.parse::<u32>() {
        Ok(n) if digits && n <= MAX => Ok(n),
        _ if digits => Err(format!("values larger than {MAX} are not supported: {text}")),
        _ => Err(format!("{text:?} is not a number")),
    }
}

impl fmt::Display for Ranges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (from, to)) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            match from == to {
                true => write!(f, "{comma}{from}")?,
                false => write!(f, "{comma}{from}-{to}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_and_empty_elements_mean_nothing() {
        for (list, plain, count) in
            [("0-3, 7", "0-3,7", 5), (" 1 ,, 0-1,", "1,0-1", 2), ("", "", 0), (" , ", "", 0), ("64", "64", 1)]
        {
            let ranges = Ranges::parse(list).expect(list);
            assert_eq!((ranges.to_string().as_str(), ranges.count()), (plain, count), "{list:?}");
        }
        assert_eq!(Ranges::parse("1,64-65").expect("a list").mask(), [2, 3]);
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for list in
            ["-", "0-", "-3", "3-0", "0-3-5", "a", "0 1", "0- 1", "+1", "65537", "0-9876543210", "0\0"]
        {
            assert!(Ranges::parse(list).is_err(), "{list:?}");
        }
    }
}
