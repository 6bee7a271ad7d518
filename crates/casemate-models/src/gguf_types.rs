//! Element types of GGUF (`ggml_type` of github.com/ggml-org/ggml; sizes as in `GGML_QUANT_SIZES`
//! of the package `gguf` 0.19).

/// One type: its number, its name, and the elements and bytes of a block.
struct Type(u32, &'static str, Option<(u64, u64)>);

const fn sized(number: u32, name: &'static str, elements: u64, bytes: u64) -> Type {
    Type(number, name, Some((elements, bytes)))
}

/// Returns a type that `gguf` no longer has, or does not have yet.
const fn named(number: u32, name: &'static str) -> Type {
    Type(number, name, None)
}

const TYPES: [Type; 43] = [
    sized(0, "F32", 1, 4),
    sized(1, "F16", 1, 2),
    sized(2, "Q4_0", 32, 18),
    sized(3, "Q4_1", 32, 20),
    named(4, "Q4_2"),
    named(5, "Q4_3"),
    sized(6, "Q5_0", 32, 22),
    sized(7, "Q5_1", 32, 24),
    sized(8, "Q8_0", 32, 34),
    sized(9, "Q8_1", 32, 40),
    sized(10, "Q2_K", 256, 84),
    sized(11, "Q3_K", 256, 110),
    sized(12, "Q4_K", 256, 144),
    sized(13, "Q5_K", 256, 176),
    sized(14, "Q6_K", 256, 210),
    sized(15, "Q8_K", 256, 292),
    sized(16, "IQ2_XXS", 256, 66),
    sized(17, "IQ2_XS", 256, 74),
    sized(18, "IQ3_XXS", 256, 98),
    sized(19, "IQ1_S", 256, 50),
    sized(20, "IQ4_NL", 32, 18),
    sized(21, "IQ3_S", 256, 110),
    sized(22, "IQ2_S", 256, 82),
    sized(23, "IQ4_XS", 256, 136),
    sized(24, "I8", 1, 1),
    sized(25, "I16", 1, 2),
    sized(26, "I32", 1, 4),
    sized(27, "I64", 1, 8),
    sized(28, "F64", 1, 8),
    sized(29, "IQ1_M", 256, 56),
    sized(30, "BF16", 1, 2),
    named(31, "Q4_0_4_4"),
    named(32, "Q4_0_4_8"),
    named(33, "Q4_0_8_8"),
    sized(34, "TQ1_0", 256, 54),
    sized(35, "TQ2_0", 256, 66),
    named(36, "IQ4_NL_4_4"),
    named(37, "IQ4_NL_4_8"),
    named(38, "IQ4_NL_8_8"),
    sized(39, "MXFP4", 32, 17),
    sized(40, "NVFP4", 64, 36),
    sized(41, "Q1_0", 128, 18),
    named(42, "Q2_0"),
];

fn find(number: u32) -> Option<&'static Type> {
    TYPES.iter().find(|Type(known, ..)| *known == number)
}

/// Returns the name of a type, or its number if it is unknown.
pub(crate) fn name(number: u32) -> String {
    find(number).map_or_else(
        || format!("type {number}"),
        |Type(_, name, _)| (*name).to_owned(),
    )
}

/// Returns the length of a tensor, in bytes, if its type is known and its rows are whole blocks.
pub(crate) fn tensor_bytes(number: u32, shape: &[u64]) -> Option<u64> {
    let Type(_, _, size) = find(number)?;
    let (elements, bytes) = (*size)?;
    let row = shape.last().copied().unwrap_or(1);
    let count = shape
        .iter()
        .try_fold(1, |count: u64, side| count.checked_mul(*side))?;
    let is_whole = row.checked_rem(elements)? == 0;
    count
        .checked_div(elements)?
        .checked_mul(bytes)
        .filter(|_| is_whole)
}
