//! coverage TARGET=DIRECTORY...: runs targets over the files of directories and prints, function by function, how many edges of loading and planning they reach: `covered all name`, then the sum.

use std::collections::BTreeMap;
use std::process::Command;

unsafe extern "C" {
    // Bounds of the sections that the compiler makes; the linker names them.
    #[link_name = "__start___sancov_cntrs"]
    static COUNTERS: u8;
    #[link_name = "__stop___sancov_cntrs"]
    static COUNTERS_END: u8;
    #[link_name = "__start___sancov_pcs"]
    static PCS: [usize; 2];
}

/// The modules that count.
const ROOMS: [&str; 2] = ["oxrun_core::bundle::", "oxrun_core::plan::"];

/// Tells how far the program was moved when it was loaded.
#[unsafe(no_mangle)]
extern "C" fn oxrun_fuzz_marker() {}

/// The functions by the address at which they are now.
fn symbols() -> BTreeMap<usize, String> {
    let out = Command::new("nm").arg("-C").arg(std::env::current_exe().expect("a path")).output();
    let text = String::from_utf8_lossy(&out.expect("nm").stdout).into_owned();
    let parse = |line: &str| {
        let mut words = line.splitn(3, ' ');
        let address = usize::from_str_radix(words.next()?, 16).ok()?;
        Some((address, words.nth(1)?.to_owned()))
    };
    let all: Vec<(usize, String)> = text.lines().filter_map(parse).collect();
    let marker = all.iter().find(|(_, name)| name == "oxrun_fuzz_marker").expect("the marker").0;
    let moved = (oxrun_fuzz_marker as extern "C" fn() as usize).wrapping_sub(marker);
    all.into_iter().map(|(address, name)| (address.wrapping_add(moved), name)).collect()
}

fn main() {
    for arg in std::env::args().skip(1) {
        let (name, directory) = arg.split_once('=').expect("coverage TARGET=DIRECTORY...");
        let (_, run) = oxrun_fuzz::targets::ALL.into_iter().find(|(n, _)| *n == name).expect("a target");
        for file in std::fs::read_dir(directory).expect("a directory").flatten() {
            run(&std::fs::read(file.path()).expect("a file"));
        }
    }
    // SAFETY: the linker puts the counters and, in the same order, the pairs of address and flags between these.
    let (counters, pcs) = unsafe {
        let begin = &raw const COUNTERS;
        let n = (&raw const COUNTERS_END).offset_from(begin) as usize;
        (std::slice::from_raw_parts(begin, n), std::slice::from_raw_parts(&raw const PCS, n))
    };
    let symbols = symbols();
    let mut functions: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    let mut current = "";
    for (counter, [pc, flags]) in counters.iter().zip(pcs) {
        if flags & 1 != 0 {
            current = symbols.range(..=*pc).next_back().map_or("", |(_, name)| name.as_str());
        }
        let sum = functions.entry(current).or_default();
        sum.0 += usize::from(*counter != 0);
        sum.1 += 1;
    }
    let (mut covered, mut all) = (0, 0);
    for (name, (c, n)) in functions {
        if ROOMS.iter().any(|room| name.contains(room)) && !name.contains("drop_in_place") {
            println!("{c} {n} {name}");
            covered += c;
            all += n;
        }
    }
    println!("{covered} of {all} edges: {:.1} %", covered as f64 * 100.0 / (all as f64).max(1.0));
}
