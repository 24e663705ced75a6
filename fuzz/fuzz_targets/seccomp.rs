#![no_main]

libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, max: usize, seed: u32| {
    oxrun_fuzz::mutate(data, size, max, seed, 2, "/linux/seccomp")
});
libfuzzer_sys::fuzz_target!(|data: &[u8]| oxrun_fuzz::targets::seccomp(data));
