//! Container ids. What is accepted is a single path component of harmless characters: an id names
//! a directory.

use crate::error::{Error, ErrorKind, Result};

/// Checks a container's id: `[A-Za-z0-9_+.-]+`, at most 255 bytes, neither `.` nor `..`.
///
/// # Errors
/// [`ErrorKind::InvalidId`] with runc's words.
pub(crate) fn check(id: &str) -> Result<()> {
    if id.is_empty() {
        return Err(Error::new(ErrorKind::InvalidId, "container id cannot be empty"));
    }
    let fine = |b: u8| b.is_ascii_alphanumeric() || b"_+.-".contains(&b);
    if id.len() > 255 || id == "." || id == ".." || !id.bytes().all(fine) {
        return Err(Error::new(ErrorKind::InvalidId, format!("invalid container ID format: {id:?}"))
            .hint("an id has 1 to 255 of the characters A-Z a-z 0-9 _ + . -"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn ids_are_single_harmless_path_components() {
        for good in ["a", "A-1_+.x", "...", &"x".repeat(255)] {
            assert!(check(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "a b", "ä", "a\0", "a\n", &"x".repeat(256)] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
