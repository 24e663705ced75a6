//! What a runtime answers to a config that cannot work: the cases, what was said, and the table.
//!
//! `oxrun-conformance diagnosis --runtime PATH [--peer NAME=PATH ...]` runs every case with every runtime
//! and prints the answers beside each other as Markdown.

mod answer;
mod case;
mod cases;
mod table;

pub use answer::{Answer, Said, ask};
pub use case::{Case, End};
pub use cases::CASES;
pub use table::run;
