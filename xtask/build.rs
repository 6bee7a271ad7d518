//! Tells the tool which target it is built for.
#![expect(clippy::print_stdout, reason = "cargo reads standard output")]

fn main() {
    if let Ok(target) = std::env::var("TARGET") {
        println!("cargo::rustc-env=XTASK_TARGET={target}");
    }
}
