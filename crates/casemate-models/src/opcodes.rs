//! The operations of pickles, under the names and numbers of Python's `pickletools`: one table for
//! every reader here.
//!
//! # Source
//!
//! `CPython`, `Lib/pickletools.py`, protocols 0 to 5.

use casemate_seal::ReadAt;

use crate::{Format, ModelError, cursor::Cursor};

/// Longest string that can be part of a name, in bytes. The bytes of longer ones are skipped.
pub(crate) const NAME_BYTES_MAX: u64 = 1024;
/// Number of bytes of a line that are kept.
const LINE_BYTES_MAX: usize = 4096;

/// What follows the byte of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Argument {
    None,
    /// A little-endian number of this many bytes.
    Number(u8),
    /// A length of this many bytes, then as many bytes.
    Counted(u8),
    Line,
    TwoLines,
}

/// A row of the table.
#[derive(Debug)]
pub(crate) struct Opcode {
    code: u8,
    /// The name in `pickletools`.
    pub(crate) name: &'static str,
    pub(crate) op: Op,
    argument: Argument,
}

macro_rules! opcodes {
    ($($code:literal $op:ident $name:literal $argument:ident $(($bytes:literal))?;)*) => {
        /// An operation.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Op {
            $($op),*
        }

        static OPCODES: &[Opcode] = &[
            $(Opcode {
                code: $code,
                name: $name,
                op: Op::$op,
                argument: Argument::$argument $(($bytes))?,
            }),*
        ];
    };
}

opcodes! {
    b'(' Mark "MARK" None;
    b'.' Stop "STOP" None;
    b'0' Pop "POP" None;
    b'1' PopMark "POP_MARK" None;
    b'2' Dup "DUP" None;
    b'F' Float "FLOAT" Line;
    b'I' Int "INT" Line;
    b'J' BinInt "BININT" Number(4);
    b'K' BinInt1 "BININT1" Number(1);
    b'L' Long "LONG" Line;
    b'M' BinInt2 "BININT2" Number(2);
    b'N' None "NONE" None;
    b'P' PersId "PERSID" Line;
    b'Q' BinPersId "BINPERSID" None;
    b'R' Reduce "REDUCE" None;
    b'S' String "STRING" Line;
    b'T' BinString "BINSTRING" Counted(4);
    b'U' ShortBinString "SHORT_BINSTRING" Counted(1);
    b'V' Unicode "UNICODE" Line;
    b'X' BinUnicode "BINUNICODE" Counted(4);
    b'a' Append "APPEND" None;
    b'b' Build "BUILD" None;
    b'c' Global "GLOBAL" TwoLines;
    b'd' Dict "DICT" None;
    b'}' EmptyDict "EMPTY_DICT" None;
    b'e' Appends "APPENDS" None;
    b'g' Get "GET" Line;
    b'h' BinGet "BINGET" Number(1);
    b'i' Inst "INST" TwoLines;
    b'j' LongBinGet "LONG_BINGET" Number(4);
    b'l' List "LIST" None;
    b']' EmptyList "EMPTY_LIST" None;
    b'o' Obj "OBJ" None;
    b'p' Put "PUT" Line;
    b'q' BinPut "BINPUT" Number(1);
    b'r' LongBinPut "LONG_BINPUT" Number(4);
    b's' SetItem "SETITEM" None;
    b't' Tuple "TUPLE" None;
    b')' EmptyTuple "EMPTY_TUPLE" None;
    b'u' SetItems "SETITEMS" None;
    b'G' BinFloat "BINFLOAT" Number(8);
    b'B' BinBytes "BINBYTES" Counted(4);
    b'C' ShortBinBytes "SHORT_BINBYTES" Counted(1);
    0x80 Proto "PROTO" Number(1);
    0x81 NewObj "NEWOBJ" None;
    0x82 Ext1 "EXT1" Number(1);
    0x83 Ext2 "EXT2" Number(2);
    0x84 Ext4 "EXT4" Number(4);
    0x85 Tuple1 "TUPLE1" None;
    0x86 Tuple2 "TUPLE2" None;
    0x87 Tuple3 "TUPLE3" None;
    0x88 NewTrue "NEWTRUE" None;
    0x89 NewFalse "NEWFALSE" None;
    0x8a Long1 "LONG1" Counted(1);
    0x8b Long4 "LONG4" Counted(4);
    0x8c ShortBinUnicode "SHORT_BINUNICODE" Counted(1);
    0x8d BinUnicode8 "BINUNICODE8" Counted(8);
    0x8e BinBytes8 "BINBYTES8" Counted(8);
    0x8f EmptySet "EMPTY_SET" None;
    0x90 AddItems "ADDITEMS" None;
    0x91 FrozenSet "FROZENSET" None;
    0x92 NewObjEx "NEWOBJ_EX" None;
    0x93 StackGlobal "STACK_GLOBAL" None;
    0x94 Memoize "MEMOIZE" None;
    0x95 Frame "FRAME" Number(8);
    0x96 ByteArray8 "BYTEARRAY8" Counted(8);
    0x97 NextBuffer "NEXT_BUFFER" None;
    0x98 ReadOnlyBuffer "READONLY_BUFFER" None;
}

static BY_CODE: [Option<&Opcode>; 256] = by_code();

#[expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "checked by the compiler, which runs this"
)]
const fn by_code() -> [Option<&'static Opcode>; 256] {
    let mut table = [None; 256];
    let mut at = 0;
    while at < OPCODES.len() {
        table[OPCODES[at].code as usize] = Some(&OPCODES[at]);
        at += 1;
    }
    table
}

/// The argument of an operation that was read.
pub(crate) enum Operand {
    None,
    Number(u64),
    /// `None` for more than [`NAME_BYTES_MAX`] bytes, which are skipped.
    Counted(Option<Vec<u8>>),
    Line(Line),
    TwoLines(Line, Line),
}

/// A line without its end.
pub(crate) struct Line {
    /// At most [`LINE_BYTES_MAX`] bytes of it.
    pub(crate) bytes: Vec<u8>,
    /// Whether the file goes on behind it.
    pub(crate) ends: bool,
}

impl Line {
    /// Whether no byte of it was dropped.
    pub(crate) const fn is_whole(&self) -> bool {
        self.bytes.len() < LINE_BYTES_MAX
    }

    pub(crate) fn to_text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

pub(crate) const CUT: ModelError = malformed("it ends without a final operation");

pub(crate) const fn malformed(rule: &'static str) -> ModelError {
    ModelError::malformed(Format::Pickle, rule)
}

/// Reads an operation with its argument.
///
/// A line must end, except for the second one of two: some loaders import a name that is truncated
/// at the end of the file.
pub(crate) fn read_operation(
    c: &mut Cursor<'_, impl ReadAt>,
) -> Result<(&'static Opcode, Operand), ModelError> {
    let [code] = c.array()?.ok_or(CUT)?;
    let found = BY_CODE.get(usize::from(code)).copied().flatten();
    let opcode = found.ok_or(malformed("unknown operation"))?;
    let operand = match opcode.argument {
        Argument::None => Operand::None,
        Argument::Number(bytes) => Operand::Number(number(c, bytes)?),
        Argument::Counted(bytes) => {
            let len = number(c, bytes)?;
            if len > NAME_BYTES_MAX {
                c.skip(len).ok_or(CUT)?;
                Operand::Counted(None)
            } else {
                let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
                c.fill(&mut bytes)?.ok_or(CUT)?;
                Operand::Counted(Some(bytes))
            }
        }
        Argument::Line => Operand::Line(whole_line(c)?),
        Argument::TwoLines => Operand::TwoLines(whole_line(c)?, line(c)?),
    };
    Ok((opcode, operand))
}

fn number(c: &mut Cursor<'_, impl ReadAt>, bytes: u8) -> Result<u64, ModelError> {
    let mut whole = [0; 8];
    let low = whole.get_mut(..usize::from(bytes)).ok_or(CUT)?;
    c.fill(low)?.ok_or(CUT)?;
    Ok(u64::from_le_bytes(whole))
}

fn whole_line(c: &mut Cursor<'_, impl ReadAt>) -> Result<Line, ModelError> {
    let line = line(c)?;
    if line.ends { Ok(line) } else { Err(CUT) }
}

fn line(c: &mut Cursor<'_, impl ReadAt>) -> Result<Line, ModelError> {
    let mut line = Line {
        bytes: Vec::new(),
        ends: false,
    };
    while let Some([byte]) = c.array()? {
        line.ends = byte == b'\n';
        if line.ends {
            break;
        }
        if line.bytes.len() < LINE_BYTES_MAX {
            line.bytes.push(byte);
        }
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, process::Command};

    use super::*;

    /// Prints a line for each operation: number, name, kind and size of its argument.
    const SCRIPT: &str = r"
import pickletools, re
for op in pickletools.opcodes:
    name = op.arg.name if op.arg else 'none'
    size = re.search(r'\d*$', name).group()
    if name == 'none': kind = 'none'
    elif name.endswith('_pair'): kind = 'two lines'
    elif 'nl' in name: kind = 'line'
    elif re.match(r'(uint|int|float)\d$', name): kind = 'number ' + size
    else: kind = 'counted ' + size
    print(ord(op.code), op.name, kind, sep=',')
";

    fn kind(argument: Argument) -> String {
        match argument {
            Argument::None => "none".to_owned(),
            Argument::Number(bytes) => format!("number {bytes}"),
            Argument::Counted(bytes) => format!("counted {bytes}"),
            Argument::Line => "line".to_owned(),
            Argument::TwoLines => "two lines".to_owned(),
        }
    }

    #[test]
    fn the_table_is_that_of_pickletools() {
        let python = Command::new("python3").args(["-c", SCRIPT]).output();
        let Ok(python) = python else {
            casemate_testkit::skip("python3 is not installed: the table was not compared");
            return;
        };
        let printed = String::from_utf8(python.stdout).unwrap();
        let expected: BTreeMap<u8, (String, String)> = printed
            .lines()
            .map(|line| {
                let parts: Vec<_> = line.splitn(3, ',').collect();
                (
                    parts[0].parse().unwrap(),
                    (parts[1].to_owned(), parts[2].to_owned()),
                )
            })
            .collect();
        let ours: BTreeMap<u8, (String, String)> = OPCODES
            .iter()
            .map(|row| (row.code, (row.name.to_owned(), kind(row.argument))))
            .collect();
        assert_eq!(ours.len(), OPCODES.len());
        assert_eq!(ours, expected);
    }

    #[test]
    fn an_argument_that_is_cut_or_an_unknown_byte_is_refused() {
        for bytes in [&b"K"[..], b"X\x02\0\0\0a", b"I12", b"cos", b"\xff"] {
            let mut cursor = Cursor::new(&bytes).unwrap();
            assert!(read_operation(&mut cursor).is_err(), "{bytes:?}");
        }
        // The end of a file ends the second of two lines.
        let cut = &b"cos\nsystem"[..];
        let mut cursor = Cursor::new(&cut).unwrap();
        let (row, operand) = read_operation(&mut cursor).unwrap();
        let Operand::TwoLines(module, name) = operand else {
            panic!("{row:?}");
        };
        assert_eq!(
            (module.to_text(), name.to_text(), name.ends),
            ("os".to_owned(), "system".to_owned(), false)
        );
    }
}
