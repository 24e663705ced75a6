//! coverage TARGET=DIRECTORY...: runs targets over the files of directories, to be built with
//! `-Cinstrument-coverage`. See `coverage` beside the manifest.

fn main() {
    for arg in std::env::args().skip(1) {
        let (name, directory) = arg.split_once('=').expect("coverage TARGET=DIRECTORY...");
        let (_, run) = oxrun_fuzz::targets::ALL.into_iter().find(|(n, _)| *n == name).expect("a target");
        for file in std::fs::read_dir(directory).expect("a directory").flatten() {
            run(&std::fs::read(file.path()).expect("a file"));
        }
    }
}
