//! Marks for memcheck: bytes that are secret, and bytes that have become public.
//!
//! Memcheck tracks, bit by bit, what was computed from undefined memory, and reports branches and
//! addresses that depend on it. With a secret marked undefined, it reports whether the secret
//! reaches a branch or an address.
//!
//! A request to valgrind is a fixed sequence of instructions that has no effect on a processor
//! (`valgrind.h`, "client requests"). It is written out here, so that neither building nor linting
//! needs valgrind's headers.

#![expect(unsafe_code, reason = "client requests of valgrind; see SAFETY.md")]

use std::{error::Error, hint::black_box};

/// `VG_USERREQ_TOOL_BASE('M', 'C')`, an interface that valgrind promises to keep.
const MEMCHECK: usize = 0x4d43_0000;
const MAKE_MEM_UNDEFINED: usize = MEMCHECK + 1;
const MAKE_MEM_DEFINED: usize = MEMCHECK + 2;
const GET_VBITS: usize = MEMCHECK + 8;

/// Sends a request to valgrind; returns 0 outside valgrind.
fn request(code: usize, operands: [usize; 3]) -> usize {
    let [first, second, third] = operands;
    let arguments = [code, first, second, third, 0, 0];
    let mut answer = 0_usize;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: SAFETY.md, 1 and 2: the rotations add up to two full turns and the exchange is of a
    // register with itself.
    unsafe {
        std::arch::asm!(
            "rol rdi, 3", "rol rdi, 13", "rol rdi, 61", "rol rdi, 51", "xchg rbx, rbx",
            in("rax") arguments.as_ptr(), inlateout("rdx") answer,
        );
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: SAFETY.md, 1 and 2: the rotations add up to two full turns and the `orr` is of a
    // register with itself.
    unsafe {
        std::arch::asm!(
            "ror x12, x12, #3", "ror x12, x12, #13", "ror x12, x12, #51", "ror x12, x12, #61", "orr x10, x10, x10",
            inlateout("x3") answer, in("x4") arguments.as_ptr(),
        );
    }
    black_box(answer)
}

fn mark(code: usize, bytes: &[u8]) {
    request(code, [bytes.as_ptr().expose_provenance(), bytes.len(), 0]);
}

/// Returns whether memcheck is running; another valgrind tool would detect nothing.
pub(crate) fn is_watched() -> bool {
    let mut probe = [0_u8; 8];
    secret(&mut probe);
    let watched = is_secret(&probe);
    public(&mut probe);
    watched
}

/// Marks bytes as secret.
pub(crate) fn secret(bytes: &mut [u8]) {
    secret_in_place(bytes);
}

/// Marks bytes behind a shared reference as secret. The bytes keep their values.
pub(crate) fn secret_in_place(bytes: &[u8]) {
    mark(MAKE_MEM_UNDEFINED, bytes);
}

/// Marks bytes as public, whatever they were computed from.
pub(crate) fn public(bytes: &mut [u8]) {
    public_in_place(bytes);
}

/// Marks bytes behind a shared reference as public.
pub(crate) fn public_in_place(bytes: &[u8]) {
    mark(MAKE_MEM_DEFINED, bytes);
}

/// Returns whether bytes depend on a secret: all of them, or all but one, since an encoded point
/// begins with a constant.
pub(crate) fn is_secret(bytes: &[u8]) -> bool {
    let mut shadow = vec![0_u8; bytes.len()];
    let from = bytes.as_ptr().expose_provenance();
    let to = shadow.as_mut_ptr().expose_provenance();
    let answer = request(GET_VBITS, [from, to, bytes.len()]);
    let marked = black_box(&shadow).iter().filter(|bits| **bits != 0).count();
    answer == 1 && marked >= bytes.len().saturating_sub(1).max(1)
}

/// Makes the result of a computation on secrets public, after checking that it depends on the
/// secrets.
///
/// Without that check, a case that lost its marks on the way would pass and measure nothing.
pub(crate) fn reveal(what: &str, bytes: &mut [u8]) -> Result<(), Box<dyn Error>> {
    reveal_in_place(what, bytes)
}

/// Like [`reveal`], for bytes behind a shared reference.
pub(crate) fn reveal_in_place(what: &str, bytes: &[u8]) -> Result<(), Box<dyn Error>> {
    if !is_secret(bytes) {
        return Err(format!("{what} does not depend on the secrets: nothing was measured").into());
    }
    public_in_place(bytes);
    Ok(())
}
