//! `execCPUAffinity`, read and checked here.
//!
//! What must hold: what is put into the model is what the model itself would have accepted. The model
//! checks with a regular expression; its engine would be a third of the program, for this one field.

use oci_spec::runtime::{ExecCPUAffinity, Process};
use serde::{Deserialize, Deserializer, de};

/// The name under which the model asks for the field.
pub(super) const NAME: &str = "ExecCPUAffinity";

/// The field as it stands in the document.
#[derive(Deserialize)]
#[serde(expecting = "struct ExecCPUAffinity")]
pub(super) struct Affinity {
    #[serde(default, deserialize_with = "processors")]
    initial: Option<String>,
    #[serde(default, rename = "final", deserialize_with = "processors")]
    last: Option<String>,
}

impl Affinity {
    /// Puts the field into the model.
    pub(super) fn put(self, process: &mut Process) {
        let mut affinity = ExecCPUAffinity::default();
        affinity.set_initial(self.initial).set_cpu_affinity_final(self.last);
        process.set_exec_cpu_affinity(Some(affinity));
    }
}

fn processors<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    let list: Option<String> = Option::deserialize(from)?;
    match list {
        Some(list) if !is_list(&list) => {
            Err(de::Error::custom(format_args!("Invalid execCPUAffinity format: {list}")))
        }
        list => Ok(list),
    }
}

/// Numbers and ranges of numbers, separated by commas: `0-3,7`.
fn is_list(text: &str) -> bool {
    let number = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    text.split(',').all(|item| match item.split_once('-') {
        Some((from, to)) => number(from) && number(to),
        None => number(item),
    })
}

#[cfg(test)]
mod tests {
    use super::is_list;

    #[test]
    fn numbers_and_ranges_are_a_list_of_processors() {
        for list in ["0", "07", "0-3", "0-3,7", "7,0-3,12"] {
            assert!(is_list(list), "{list}");
        }
        for other in ["", ",", "0,", ",0", "-", "0-", "-3", "0-3-5", "a", "0 ,1", "0,,1", "0\n"] {
            assert!(!is_list(other), "{other:?}");
        }
    }
}
