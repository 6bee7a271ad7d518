//! Tells the tool which target it is built for.

fn main() {
    if let Ok(target) = std::env::var("TARGET") {
        println!("cargo::rustc-env=XTASK_TARGET={target}");
    }
}
