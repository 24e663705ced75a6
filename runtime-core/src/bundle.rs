//! Reading a bundle: config.json as bytes, as document, as [`Spec`].
//!
//! `oci_spec` is the one model. In front of it the document is mended where the crate refuses or
//! misreads what the specification allows, unknown keys become warnings, and what fails is named by its
//! pointer. The bytes are kept: later edits of the file have no effect on the container.

mod affinity;
mod document;
pub(crate) mod keys;
mod locate;
mod mend;
mod outline;
mod read;
#[cfg(test)]
mod shapes;
pub(crate) mod words;

use crate::error::{Error, ErrorKind, Result};
use crate::seccomp::Program;
pub(crate) use document::{Document, Object};
use mend::mend;
pub(crate) use mend::mend_resources;
use oci_spec::runtime::Spec;
use outline::Outline;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// Largest config.json, in bytes.
pub const MAX_CONFIG: usize = 16 << 20;
/// Deepest nesting of a config.json.
pub const MAX_DEPTH: usize = 64;

/// Something that does not stop the container, told to whoever asks.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Warning {
    /// The JSON pointer of the field.
    pub field: String,
    /// One sentence.
    pub message: String,
}

/// What was compiled from a profile's text before.
pub(crate) type Known<'a> = dyn Fn(&[u8]) -> Option<Program> + 'a;

/// An opened bundle: the config and the directory it belongs to.
///
/// # Examples
/// ```
/// # fn main() -> Result<(), oxrun_core::Error> {
/// use oxrun_core::Bundle;
/// let config = r#"{
///     "ociVersion": "1.2.0",
///     "root": { "path": "/srv/root" },
///     "process": { "args": ["sh"], "cwd": "/", "user": { "uid": 0, "gid": 0 } },
///     "colour": "blue"
/// }"#;
/// let bundle = Bundle::from_json(config.as_bytes())?;
/// assert_eq!(bundle.spec().version(), "1.2.0");
/// // What is not understood is ignored, and said.
/// assert_eq!(bundle.warnings()[0].field, "/colour");
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Bundle {
    pub(crate) dir: PathBuf,
    pub(crate) bytes: Arc<[u8]>,
    /// Without the seccomp profile if `filter` is there.
    pub(crate) spec: Box<Spec>,
    pub(crate) warnings: Vec<Warning>,
    /// Where in the bytes the profile is, if its filter may be kept.
    pub(crate) profile: Option<Range<usize>>,
    /// What was compiled from the profile before.
    pub(crate) filter: Option<Program>,
    /// All of the config, if somebody asked for it.
    whole: OnceLock<Box<Spec>>,
}

impl Bundle {
    /// Opens the bundle in `dir` and reads its config.json.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] with the pointer of the field; [`ErrorKind::Syscall`] if the file
    /// cannot be read.
    pub fn open(dir: impl AsRef<Path>) -> Result<Bundle> {
        Bundle::open_knowing(dir.as_ref(), None)
    }

    /// The same with what `known` was compiled from a profile's text before, in place of the profile.
    pub(crate) fn open_knowing(dir: &Path, known: Option<&Known<'_>>) -> Result<Bundle> {
        let dir = dir.canonicalize().map_err(|e| Error::io(format!("bundle {}", dir.display()), &e))?;
        let path = dir.join("config.json");
        let bytes = read_limited(&path, MAX_CONFIG)?;
        let mut bundle = Bundle::of(bytes, known)?;
        bundle.dir = dir;
        Ok(bundle)
    }

    /// A bundle without a directory: relative paths in the config are then relative to `/`.
    ///
    /// # Errors
    /// As [`Bundle::open`].
    pub fn from_json(bytes: &[u8]) -> Result<Bundle> {
        Bundle::knowing(bytes, None)
    }

    pub(crate) fn knowing(bytes: &[u8], known: Option<&Known<'_>>) -> Result<Bundle> {
        Bundle::of(bytes.into(), known)
    }

    fn of(bytes: Arc<[u8]>, known: Option<&Known<'_>>) -> Result<Bundle> {
        let outline = Outline::of(&bytes);
        // Who asks for nothing keeps nothing.
        let profile = outline.profile.clone().filter(|_| known.is_some());
        if let Some((rest, text)) = profile.clone().and_then(|profile| without(&bytes, profile))
            && let Some(filter) = known.and_then(|known| known(text))
        {
            // What is wrong is told of the whole.
            if let Ok(read) = read_config(&rest.concat(), None) {
                return Ok(Bundle { profile, filter: Some(filter), ..Bundle::nowhere(bytes, read) });
            }
        }
        let read = read_config(&bytes, outline.too_deep)?;
        Ok(Bundle { profile, ..Bundle::nowhere(bytes, read) })
    }

    /// What was read from these bytes.
    fn nowhere(bytes: Arc<[u8]>, (spec, warnings): (Box<Spec>, Vec<Warning>)) -> Bundle {
        Bundle {
            dir: PathBuf::from("/"),
            bytes,
            spec,
            warnings,
            profile: None,
            filter: None,
            whole: OnceLock::new(),
        }
    }

    /// The same from a spec that was made by a program.
    ///
    /// # Errors
    /// As [`Bundle::open`].
    ///
    /// # Examples
    /// ```
    /// # fn main() -> Result<(), oxrun_core::Error> {
    /// use oxrun_core::{Bundle, Spec};
    /// let mut spec = Spec::default();
    /// spec.set_hostname(Some("web".to_owned()));
    /// let bundle = Bundle::from_spec(&spec)?;
    /// assert_eq!(bundle.spec().hostname().as_deref(), Some("web"));
    /// # Ok(()) }
    /// ```
    pub fn from_spec(spec: &Spec) -> Result<Bundle> {
        let bytes = serde_json::to_vec(spec).map_err(|e| Error::config("", e.to_string()))?;
        Bundle::from_json(&bytes)
    }

    /// Reads a process document, as `exec --process` gets it. Pointers begin with `/process`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] with the pointer of the field.
    pub fn process_from_json(bytes: &[u8]) -> Result<oci_spec::runtime::Process> {
        let process = parse(bytes)?;
        let version = Document::String("1.0.0".into());
        let members = vec![("ociVersion".into(), version), ("process".into(), process)];
        let mut document = Document::Object(members.into());
        let words = words::check(&document, bytes);
        let mut warnings = mend(&mut document);
        let spec = words
            .and_then(|()| model(&document, "process", &mut warnings))
            .map_err(|e| placed(e, bytes, "/process"))?;
        spec.process().clone().ok_or_else(|| Error::config("/process", "process property must not be empty"))
    }

    /// The directory, absolute and without links.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The config as the specification's model.
    #[must_use]
    pub fn spec(&self) -> &Spec {
        if self.filter.is_none() {
            return &self.spec;
        }
        self.whole.get_or_init(|| {
            let read = read_config(&self.bytes, None).ok();
            // These bytes were read before, the profile on its own; so nothing is wrong with them now.
            read.map_or_else(|| self.spec.clone(), |(spec, _)| spec)
        })
    }

    /// What in the config is ignored: unknown keys and capabilities.
    #[must_use]
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// The config's bytes, without the profile if its filter was known: what there is to say of it, the filter says.
    pub(crate) fn less_profile(&self) -> Cow<'_, [u8]> {
        let profile = self.profile.clone().filter(|_| self.filter.is_some());
        match profile.and_then(|profile| without(&self.bytes, profile)) {
            Some((rest, _)) => rest.concat().into(),
            None => Cow::Borrowed(&self.bytes),
        }
    }

    /// The config's bytes as they were read.
    #[must_use]
    pub fn raw(&self) -> &[u8] {
        &self.bytes
    }
}

/// Bytes to the model and what is to be said of them. `too_deep` is the line at which they are nested too deeply.
fn read_config(bytes: &[u8], too_deep: Option<usize>) -> Result<(Box<Spec>, Vec<Warning>)> {
    let mut document = parse_outlined(bytes, too_deep)?;
    let words = words::check(&document, bytes);
    let mut warnings = mend(&mut document);
    let spec = words
        .and_then(|()| model(&document, "config.json", &mut warnings))
        .map_err(|e| placed(e, bytes, ""))?;
    check_version(spec.version())?;
    Ok((spec, warnings))
}

/// A document in three parts with null in place of the value in this range, and that value.
fn without(bytes: &[u8], range: Range<usize>) -> Option<([&[u8]; 3], &[u8])> {
    Some(([bytes.get(..range.start)?, b"null", bytes.get(range.end..)?], bytes.get(range)?))
}

/// Reads a file that must not be larger than `max` bytes.
fn read_limited(path: &Path, max: usize) -> Result<Arc<[u8]>> {
    let io = |e: &std::io::Error| Error::io(format!("open {}", path.display()), e);
    let file = std::fs::File::open(path).map_err(|e| io(&e))?;
    // A file that says its size takes one read, to where it stays.
    let size = file.metadata().map_err(|e| Error::io(format!("stat({})", path.display()), &e))?.len();
    if let Some(size) = usize::try_from(size).ok().filter(|size| (1..=max).contains(size)) {
        let mut bytes: Arc<[u8]> = std::iter::repeat_n(0, size).collect();
        match Arc::get_mut(&mut bytes).map(|room| file.read_exact_at(room, 0)) {
            Some(Ok(())) => return Ok(bytes),
            Some(Err(e)) if e.kind() != std::io::ErrorKind::UnexpectedEof => {
                return Err(Error::io(format!("read({})", path.display()), &e));
            }
            // It has just become shorter.
            _ => {}
        }
    }
    let mut bytes = Vec::new();
    crate::sys::read_all(&file, &mut bytes, 32 << 10, max + 1).map_err(|e| io(&e))?;
    if bytes.len() > max {
        return Err(Error::new(
            ErrorKind::InvalidConfig,
            format!("{} is larger than {} MiB", path.display(), max >> 20),
        ));
    }
    Ok(bytes.into())
}

/// Bytes to document.
fn parse(bytes: &[u8]) -> Result<Document<'_>> {
    parse_outlined(bytes, Outline::of(bytes).too_deep)
}

fn parse_outlined(bytes: &[u8], too_deep: Option<usize>) -> Result<Document<'_>> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(Error::new(ErrorKind::InvalidConfig, "config.json is empty"));
    }
    if let Some(line) = too_deep {
        return Err(Error::new(
            ErrorKind::InvalidConfig,
            format!("config.json is nested deeper than {MAX_DEPTH} levels (line {line})"),
        ));
    }
    Document::read(bytes)
        .map_err(|e| Error::new(ErrorKind::InvalidConfig, format!("config.json is not valid JSON: {e}")))
}

/// Goes over the rest of a string, its closing quotation mark included, or over all that is left.
pub(crate) fn end_string(rest: &mut std::slice::Iter<'_, u8>) {
    let text = rest.as_slice();
    *rest = text.get(outline::end_of_string(text, 0)..).unwrap_or_default().iter();
}

/// Adds where in the text the field of an error stands. `prefix` leads to the text's own root.
#[cold]
fn placed(e: Error, bytes: &[u8], prefix: &str) -> Error {
    let inner = e.field().and_then(|f| f.strip_prefix(prefix));
    match inner.and_then(|pointer| locate::position(bytes, pointer)) {
        Some((line, column)) => {
            let text = format!("{e} at line {line} column {column}");
            e.saying(text)
        }
        None => e,
    }
}

/// A whole config to the model, as [`typed`].
fn model(document: &Document<'_>, name: &str, warnings: &mut Vec<Warning>) -> Result<Box<Spec>> {
    let (mut spec, affinity) = noted::<Box<Spec>>(document, name, warnings)?;
    if let (Some(affinity), Some(process)) = (affinity, spec.process_mut()) {
        affinity.put(process);
    }
    Ok(spec)
}

/// Part of a config to its model, with the pointer of what does not fit and a warning for each unknown
/// key. A `T` must not contain a process: its `execCPUAffinity` would be lost, see [`model`].
pub(crate) fn typed<T: DeserializeOwned>(
    document: &Document<'_>,
    name: &str,
    warnings: &mut Vec<Warning>,
) -> Result<T> {
    noted(document, name, warnings).map(|(value, _)| value)
}

fn noted<T: DeserializeOwned>(
    document: &Document<'_>,
    name: &str,
    warnings: &mut Vec<Warning>,
) -> Result<(T, Option<affinity::Affinity>)> {
    let mut notes = read::Notes::default();
    let value = read::read(document, &mut notes).map_err(|e| {
        let field = notes.failed.take().unwrap_or_else(|| "/".to_owned());
        Error::config(field.clone(), format!("{name}: {field}: {e}"))
    })?;
    for field in notes.unknown {
        let near = keys::nearest(&field);
        let message = match near {
            Some(near) => format!("unknown field, did you mean `{near}`?"),
            None => "unknown field".to_owned(),
        };
        warnings.push(Warning { field, message });
    }
    Ok((value, notes.affinity))
}

/// A key as it stands in a JSON pointer (RFC 6901).
pub(crate) fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// The key that a JSON pointer (RFC 6901) ends with.
pub(crate) fn last_key(pointer: &str) -> String {
    let last = pointer.rsplit('/').next().unwrap_or_default();
    last.replace("~1", "/").replace("~0", "~")
}

/// Any 1.x is accepted, nothing else.
fn check_version(version: &str) -> Result<()> {
    let numeric = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    let core = version.split(['-', '+']).next().unwrap_or("");
    let mut parts = core.split('.');
    let fine = parts.next() == Some("1")
        && parts.next().is_some_and(numeric)
        && parts.next().is_some_and(numeric)
        && parts.next().is_none();
    if fine {
        return Ok(());
    }
    Err(Error::config("/ociVersion", format!("unsupported ociVersion {version:?}"))
        .hint("this runtime carries out version 1.x of the runtime specification"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(json: &str) -> Result<Bundle> {
        Bundle::from_json(json.as_bytes())
    }

    #[test]
    fn an_unknown_capability_is_a_warning_with_its_pointer() {
        let b = load(
            r#"{"ociVersion":"1.0.0","process":{"cwd":"/","capabilities":{"bounding":["CAP_CHOWN","CAP_NOPE"]}}}"#,
        )
        .expect("loads");
        assert_eq!(b.warnings[0].field, "/process/capabilities/bounding/1");
    }

    #[test]
    fn a_missing_user_is_root() {
        let b = load(r#"{"ociVersion":"1.0.0","process":{"cwd":"/"}}"#).expect("loads");
        let process = b.spec.process().as_ref().expect("process");
        assert_eq!((process.user().uid(), process.user().gid()), (0, 0));
    }

    #[test]
    fn an_unknown_key_is_a_warning_with_a_suggestion() {
        let b = load(r#"{"ociVersion":"1.0.0","linux":{"namespacez":[]}}"#).expect("loads");
        assert_eq!(b.warnings[0].field, "/linux/namespacez");
        assert!(b.warnings[0].message.contains("`namespaces`"));
    }

    #[test]
    fn a_wrong_type_is_named_by_its_pointer() {
        let e = load(r#"{"ociVersion":"1.0.0","process":{"cwd":7}}"#).expect_err("wrong");
        assert_eq!(e.field(), Some("/process/cwd"));
    }

    #[test]
    fn what_does_not_fit_is_named_by_the_innermost_pointer() {
        for (inner, field, says) in [
            (r#""mounts":[{"destination":"/"},{}]"#, "/mounts/1", "missing field `destination`"),
            (r#""mounts":[{"destination":"/","options":["ro",1]}]"#, "/mounts/0/options/1", "integer `1`"),
            (
                r#""linux":{"seccomp":{"defaultAction":"NO"}}"#,
                "/linux/seccomp/defaultAction",
                "unknown variant `NO`",
            ),
            (r#""linux":{"sysctl":{"a~/b":null}}"#, "/linux/sysctl/a~0~1b", "null"),
            (r#""process":{"cwd":"/","oomScoreAdj":1.5}"#, "/process/oomScoreAdj", "floating point `1.5`"),
            (r#""root":"x""#, "/root", "expected struct Root"),
        ] {
            let e = load(&format!(r#"{{"ociVersion":"1.0.0",{inner}}}"#)).expect_err(inner);
            assert_eq!(e.field(), Some(field));
            assert!(e.to_string().contains(says), "{e}");
        }
    }

    #[test]
    fn unknown_keys_are_found_in_lists_and_reported_once() {
        let b = load(r#"{"ociVersion":"1.0.0","mounts":[{"destination":"/","a/b":{"c":{}}}],"x":[{"y":1}]}"#)
            .expect("loads");
        let fields: Vec<&str> = b.warnings.iter().map(|w| w.field.as_str()).collect();
        assert_eq!(fields, ["/mounts/0/a~1b", "/x"]);
    }

    #[test]
    fn the_processors_for_exec_are_in_the_model_or_refused() {
        let config = |list: &str| {
            format!(
                r#"{{"ociVersion":"1.0.0","process":{{"cwd":"/","execCPUAffinity":{{"initial":"{list}","x":1}}}}}}"#
            )
        };
        let b = load(&config("0-3, 7")).expect("loads");
        let process = b.spec.process().as_ref().expect("process");
        let affinity = process.exec_cpu_affinity().as_ref().expect("affinity");
        assert_eq!(affinity.initial().as_deref(), Some("0-3,7"));
        assert_eq!(affinity.cpu_affinity_final(), &None);
        assert_eq!(b.warnings[0].field, "/process/execCPUAffinity/x");
        let e = load(&config("0-")).expect_err("no list");
        assert_eq!(e.field(), Some("/process/execCPUAffinity/initial"));
    }

    #[test]
    fn depth_is_limited_but_braces_in_strings_are_not_counted() {
        let deep = "[".repeat(1000) + &"]".repeat(1000);
        assert!(load(&deep).is_err_and(|e| e.to_string().contains("64 levels")));
        let text = format!(r#"{{"ociVersion":"1.0.0","hostname":"{}\"{{"}}"#, "[".repeat(100));
        assert!(load(&text).is_ok());
    }

    #[test]
    fn a_list_is_no_object_a_key_is_not_empty_and_a_device_has_its_numbers() {
        for (inner, pointer) in [
            (r#""hooks":[]"#, "/hooks"),
            (r#""linux":{"resources":[]}"#, "/linux/resources"),
            (r#""annotations":{"":"x"}"#, "/annotations/"),
            (r#""linux":{"devices":[{"path":"/x","type":"c","minor":3}]}"#, "/linux/devices/0/major"),
            (r#""linux":{"devices":[{"path":"/x","type":"b","major":7}]}"#, "/linux/devices/0/minor"),
        ] {
            let e = load(&format!(r#"{{"ociVersion":"1.0.0",{inner}}}"#)).expect_err(inner);
            assert_eq!(e.field(), Some(pointer), "{e}");
        }
        load(r#"{"ociVersion":"1.0.0","linux":{"devices":[{"path":"/x","type":"p"}]}}"#).expect("a FIFO");
    }

    #[test]
    fn versions_one_point_anything_are_accepted() {
        for (v, fine) in
            [("1.0.2-dev", true), ("1.3.0", true), ("2.0.0", false), ("invalid", false), ("1.0", false)]
        {
            assert_eq!(check_version(v).is_ok(), fine, "{v}");
        }
    }
}
