//! Writing scripts. Only the host does it; init has no allocator.

use crate::script::{Field, Header, MAGIC, Op, Sink, Strs};
use alloc::vec::Vec;
use core::ffi::CStr;

/// A script being written.
pub struct Writer {
    bytes: Vec<u8>,
}

impl Sink for Writer {
    fn put(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }
    fn pad(&mut self) {
        while !self.bytes.len().is_multiple_of(8) {
            self.bytes.push(0);
        }
    }
}

impl Writer {
    /// Starts a script.
    #[must_use]
    pub fn new(header: Header) -> Self {
        // As much as that of a usual container.
        let mut w = Writer { bytes: Vec::with_capacity(6 << 10) };
        MAGIC.write(&mut w);
        header.steps.write(&mut w);
        header.preserve.write(&mut w);
        header.dumpable.write(&mut w);
        w.pad();
        w
    }

    /// Appends the operation of the plan's step number `step`.
    pub fn push(&mut self, step: u32, op: &Op<'_>) {
        op.code().write(self);
        step.write(self);
        0u32.write(self);
        op.write(self);
        self.pad();
    }

    /// The finished bytes.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

/// The encoded form of a list of strings, to lend to an [`Op`].
#[derive(Default, Debug)]
pub struct StrList {
    count: u32,
    bytes: Vec<u8>,
}

impl StrList {
    /// Appends a string.
    pub fn push(&mut self, s: &CStr) {
        self.count += 1;
        self.bytes.extend_from_slice(s.to_bytes_with_nul());
    }

    /// The list as a field.
    #[must_use]
    pub fn get(&self) -> Strs<'_> {
        Strs { count: self.count, bytes: &self.bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::{Bytes, Script};

    #[test]
    fn a_script_is_read_as_it_was_written() {
        let mut list = StrList::default();
        list.push(c"a=1");
        list.push(c"");
        let header = Header { steps: 9, preserve: 2, dumpable: 1 };
        let ops = [
            Op::Barrier {},
            Op::Mount {
                fstype: c"tmpfs",
                source: c"shm",
                dest: c"dev/shm",
                label: c"",
                attr: 7,
                propagation: 0,
                require: 1,
                data: list.get(),
            },
            Op::Seccomp { flags: 4, filter: Bytes(&[1, 2, 3, 4, 5, 6, 7, 8]) },
        ];
        let mut w = Writer::new(header);
        for (i, op) in ops.iter().enumerate() {
            w.push(i as u32 + 1, op);
        }
        let bytes = w.finish();
        let mut s = Script::open(&bytes).expect("own script");
        assert_eq!(s.header, header);
        for (i, op) in ops.iter().enumerate() {
            let r = s.next().flatten().expect("record");
            assert_eq!((r.step, r.op), (i as u32 + 1, *op));
        }
        assert!(s.next().is_none());
    }

    #[test]
    fn no_truncation_of_a_script_is_read_past_its_end() {
        let mut w = Writer::new(Header { steps: 1, preserve: 0, dumpable: 0 });
        w.push(1, &Op::Symlink { target: c"/proc/self/fd", path: c"dev/fd" });
        let bytes = w.finish();
        for n in 0..bytes.len() {
            if let Some(mut s) = Script::open(&bytes[..n]) {
                let read = s.next();
                // Cut in the padding after the last field, or exactly behind the header.
                assert!(read.is_none() || read == Some(None), "{n}");
            }
        }
    }
}
