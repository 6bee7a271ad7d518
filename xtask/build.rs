//! Tells the tool which target it is built for.
#![expect(
    clippy::disallowed_methods,
    reason = "cargo passes the target in the environment"
)]

fn main() {
    if let Ok(target) = std::env::var("TARGET") {
        println!("cargo::rustc-env=XTASK_TARGET={target}");
    }
}
