//! Scanning of pickles (Python's `pickletools`), which are never run.
//!
//! A pickle is a program: loading it imports and calls the names it contains. This scan follows the
//! operations only as far as needed to determine which names would be imported. It builds nothing.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    rc::Rc,
};

use casemate_seal::ReadAt;

use crate::{Format, Model, ModelError, cursor::Cursor, torch_types::is_for_weights};

/// Most operations of a pickle.
pub(crate) const OPERATIONS_MAX: usize = 1 << 22;
/// Most memorised values.
const MEMO_MAX: usize = 1 << 20;
/// Longest string that can be part of a name, in bytes.
const NAME_BYTES_MAX: usize = 1024;
/// Most distinct names that are listed.
const NAMES_MAX: usize = 4096;
/// Maximum number of bytes of a line that are kept.
const LINE_BYTES_MAX: usize = 4096;
const STACK_GLOBAL: u8 = 0x93;
const FRAME: u8 = 0x95;

/// The name of a pickle that is a whole file.
const WHOLE: &str = "(the file)";

/// Functions of the module `torch.jit._pickle` that build the content of a `TorchScript` archive.
const SCRIPT_FUNCTIONS: [&str; 5] = [
    "build_boollist",
    "build_doublelist",
    "build_intlist",
    "build_tensorlist",
    "restore_type_tag",
];

/// The effects of loading a pickle.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Pickle {
    /// Names it would import, as `module name`, in alphabetical order.
    pub imports: BTreeSet<String>,
    /// Operations that import or call, with their number of occurrences.
    pub operations: BTreeMap<&'static str, usize>,
    /// Whether it computes a name at run time, so that the list of imports may be incomplete.
    pub computed_names: bool,
    /// Whether bytes follow that were not scanned, but that a loader might read.
    pub unread: bool,
    /// Whether it is part of a `TorchScript` archive, whose loader gets classes from the archive's
    /// code and imports nothing.
    pub is_script: bool,
}

impl Pickle {
    /// Returns the imports that weights do not need. Any of them could run arbitrary code.
    pub fn suspicious(&self) -> impl Iterator<Item = &str> {
        self.imports
            .iter()
            .map(String::as_str)
            .filter(|name| !(is_for_weights(name) || self.is_script && is_of_script(name)))
    }

    /// Returns whether loading it without restrictions could run arbitrary code.
    pub fn is_dangerous(&self) -> bool {
        self.computed_names || self.unread || self.suspicious().next().is_some()
    }

    fn import(&mut self, module: &str, name: &str) -> Result<(), ModelError> {
        if self.imports.len() >= NAMES_MAX {
            return Err(ModelError::Limit("names"));
        }
        self.imports.insert(format!("{module} {name}"));
        Ok(())
    }

    fn count(&mut self, operation: &'static str) {
        let slot = self.operations.entry(operation).or_default();
        *slot = slot.saturating_add(1);
    }
}

fn is_of_script(import: &str) -> bool {
    let function = import.strip_prefix("torch.jit._pickle ");
    import.starts_with("__torch__.")
        || import.starts_with("__torch__ ")
        || function.is_some_and(|name| SCRIPT_FUNCTIONS.contains(&name))
}

/// Reads a bare pickle as a model file.
pub(crate) fn read(source: &impl ReadAt) -> Result<Model, ModelError> {
    let mut model = Model::new(Format::Pickle);
    model.pickles.push((WHOLE.to_owned(), scan_pickle(source)?));
    Ok(model)
}

const fn malformed(rule: &'static str) -> ModelError {
    ModelError::malformed(Format::Pickle, rule)
}

const CUT: ModelError = malformed("it ends without a final operation");

/// The most recently pushed and the memoised strings, as far as names can be built from them.
#[derive(Default)]
struct Texts {
    /// The last two pushed values; `None` if a value is not a string.
    recent: [Option<Rc<str>>; 2],
    memo: HashMap<u64, Option<Rc<str>>>,
    /// Whether a value was memoised at an unknown position; no fetched value is known then.
    memo_unknown: bool,
}

impl Texts {
    fn push(&mut self, text: Option<Rc<str>>) {
        self.recent.swap(0, 1);
        if let Some(last) = self.recent.last_mut() {
            *last = text;
        }
    }

    fn last(&self) -> Option<Rc<str>> {
        self.recent.last().cloned().flatten()
    }

    fn keep(&mut self, slot: u64) -> Result<(), ModelError> {
        if self.memo.len() >= MEMO_MAX {
            return Err(ModelError::Limit("memorised values"));
        }
        self.memo.insert(slot, self.last());
        Ok(())
    }
}

/// Lists what a pickle would import and call.
///
/// # Errors
///
/// [`ModelError`] for an unknown operation, an early end, or more operations than the limit.
pub fn scan_pickle(source: &impl ReadAt) -> Result<Pickle, ModelError> {
    let mut found = Pickle::default();
    scan(source, &mut found)?;
    Ok(found)
}

/// Reads a file that may be a pickle of the oldest protocol, which has no magic number.
///
/// It is treated as one if it would import or call something before it ends or the scan fails: a
/// loader would have done so by the time it finds that the rest is not a pickle.
pub(crate) fn read_unnamed(source: &impl ReadAt) -> Result<Option<Model>, ModelError> {
    let mut found = Pickle::default();
    match scan(source, &mut found) {
        Ok(()) => (),
        Err(ModelError::Io(error)) => return Err(ModelError::Io(error)),
        Err(ModelError::Limit(_)) => found.unread = true,
        Err(_) if found.operations.is_empty() => return Ok(None),
        Err(_) => found.unread = true,
    }
    if found.operations.is_empty() && !found.unread {
        return Ok(None);
    }
    let mut model = Model::new(Format::Pickle);
    model.pickles.push((WHOLE.to_owned(), found));
    Ok(Some(model))
}

fn scan(source: &impl ReadAt, found: &mut Pickle) -> Result<(), ModelError> {
    let mut cursor = Cursor::new(source)?;
    let mut left = OPERATIONS_MAX;
    loop {
        scan_one(&mut cursor, found, &mut left)?;
        // Some files have several consecutive pickles.
        match cursor.peek()? {
            None => return Ok(()),
            Some(0x80) => (),
            Some(_) => {
                found.unread = true;
                return Ok(());
            }
        }
    }
}

/// Scans one pickle, up to the operation that ends it.
pub(crate) fn scan_one(
    c: &mut Cursor<'_, impl ReadAt>,
    found: &mut Pickle,
    left: &mut usize,
) -> Result<(), ModelError> {
    let mut texts = Texts::default();
    let mut frame = Frame::default();
    let first = *left;
    loop {
        let [operation] = c.array()?.ok_or(CUT)?;
        // It needs two values, and one operation leaves at most one. NumPy files begin like this.
        if operation == STACK_GLOBAL && first.saturating_sub(*left) < 2 {
            return Err(malformed("a name is taken from an empty stack"));
        }
        *left = left.checked_sub(1).ok_or(ModelError::Limit("operations"))?;
        match operation {
            b'.' => return frame.stop(c.at()),
            FRAME => frame.begin(c)?,
            _ => step(c, operation, found, &mut texts)?,
        }
        frame.check(c.at())?;
    }
}

/// A frame, which declares how many bytes its operations take.
///
/// The readers in `CPython` differ on an operation that extends beyond the frame: the C reader,
/// when reading a file, loses the rest of the frame and uses later bytes as the argument. So it may
/// import a name other than the one in the pickle.
#[derive(Default)]
struct Frame {
    end: Option<u64>,
}

impl Frame {
    fn begin(&mut self, c: &mut Cursor<'_, impl ReadAt>) -> Result<(), ModelError> {
        let len = number::<8>(c)?;
        if self.end.is_some() {
            return Err(malformed("a frame begins inside another"));
        }
        if len > c.left() {
            return Err(CUT);
        }
        self.end = c.at().checked_add(len);
        Ok(())
    }

    fn check(&mut self, at: u64) -> Result<(), ModelError> {
        match self.end {
            Some(end) if at > end => Err(malformed("an operation extends beyond its frame")),
            Some(end) if at == end => {
                self.end = None;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Ends the pickle, after its last operation was read.
    fn stop(&self, at: u64) -> Result<(), ModelError> {
        match self.end {
            Some(end) if at != end => Err(malformed("its last operation does not end its frame")),
            _ => Ok(()),
        }
    }
}

fn step(
    c: &mut Cursor<'_, impl ReadAt>,
    operation: u8,
    found: &mut Pickle,
    texts: &mut Texts,
) -> Result<(), ModelError> {
    match operation {
        // Names.
        b'c' | b'i' => {
            // Some loaders import a name that is truncated at the end of the file.
            let (module, (name, _)) = (line(c)?, line_or_rest(c)?);
            found.import(&module, &name)?;
            found.count(if operation == b'c' { "GLOBAL" } else { "INST" });
            texts.push(None);
        }
        STACK_GLOBAL => {
            found.count("STACK_GLOBAL");
            match &texts.recent {
                [Some(module), Some(name)] => {
                    let (module, name) = (Rc::clone(module), Rc::clone(name));
                    found.import(&module, &name)?;
                }
                _ => found.computed_names = true,
            }
            texts.push(None);
        }
        // Names from a registry that the loading program fills.
        0x82 => extension(c, found, texts, 1)?,
        0x83 => extension(c, found, texts, 2)?,
        0x84 => extension(c, found, texts, 4)?,
        // Calls.
        b'R' => call(found, texts, "REDUCE"),
        b'o' => call(found, texts, "OBJ"),
        0x81 => call(found, texts, "NEWOBJ"),
        0x92 => call(found, texts, "NEWOBJ_EX"),
        b'b' => call(found, texts, "BUILD"),
        b'P' => {
            line(c)?;
            call(found, texts, "PERSID");
        }
        b'Q' => call(found, texts, "BINPERSID"),
        // Operations that reorder strings on the stack: a name that follows is treated as computed.
        b'0' | b'1' | b'2' => {
            texts.push(None);
            texts.push(None);
        }
        _ => return text_or_memo(c, operation, texts),
    }
    Ok(())
}

/// Handles strings and memo operations.
fn text_or_memo(
    c: &mut Cursor<'_, impl ReadAt>,
    operation: u8,
    texts: &mut Texts,
) -> Result<(), ModelError> {
    match operation {
        // Strings.
        0x8c | b'U' | b'C' => counted_text::<1>(c, texts)?,
        b'X' | b'T' | b'B' => counted_text::<4>(c, texts)?,
        0x8d | 0x8e | 0x96 => counted_text::<8>(c, texts)?,
        b'V' | b'S' => {
            let text = line(c)?;
            // A longer string cannot be an importable name.
            let is_name = text.len() <= NAME_BYTES_MAX;
            let text = text.trim_matches(['\'', '"']);
            texts.push(is_name.then(|| text.into()));
        }
        // The memo.
        0x94 => texts.keep(texts.memo.len() as u64)?,
        b'q' => {
            let slot = number::<1>(c)?;
            texts.keep(slot)?;
        }
        b'r' => {
            let slot = number::<4>(c)?;
            texts.keep(slot)?;
        }
        b'p' => match memo_number(c)? {
            Some(slot) => texts.keep(slot)?,
            None => texts.memo_unknown = true,
        },
        b'h' => {
            let slot = number::<1>(c)?;
            recall(texts, slot);
        }
        b'j' => {
            let slot = number::<4>(c)?;
            recall(texts, slot);
        }
        b'g' => match memo_number(c)? {
            Some(slot) => recall(texts, slot),
            None => texts.push(None),
        },
        _ => return other(c, operation, texts),
    }
    Ok(())
}

/// Handles a name by number.
fn extension(
    c: &mut Cursor<'_, impl ReadAt>,
    found: &mut Pickle,
    texts: &mut Texts,
    bytes: u64,
) -> Result<(), ModelError> {
    found.computed_names = true;
    call(found, texts, "EXT");
    skip(c, bytes)
}

/// Handles values other than strings, and containers.
fn other(
    c: &mut Cursor<'_, impl ReadAt>,
    operation: u8,
    texts: &mut Texts,
) -> Result<(), ModelError> {
    match operation {
        // Protocol.
        0x80 => skip(c, 1)?,
        // Numbers.
        b'K' => value(c, texts, 1)?,
        b'M' => value(c, texts, 2)?,
        b'J' => value(c, texts, 4)?,
        b'G' => value(c, texts, 8)?,
        0x8a => {
            let len = number::<1>(c)?;
            value(c, texts, len)?;
        }
        0x8b => {
            let len = number::<4>(c)?;
            value(c, texts, len)?;
        }
        b'I' | b'L' | b'F' => {
            line(c)?;
            texts.push(None);
        }
        // None, booleans, empty containers, marks, tuples, and operations that pop values.
        b'N'
        | 0x88
        | 0x89
        | b']'
        | b'}'
        | b')'
        | 0x8f
        | b'('
        | b't'
        | 0x85..=0x87
        | b'l'
        | b'd'
        | 0x90
        | 0x91
        | b'a'
        | b'e'
        | b's'
        | b'u'
        | 0x97
        | 0x98 => texts.push(None),
        _ => return Err(malformed("unknown operation")),
    }
    Ok(())
}

fn call(found: &mut Pickle, texts: &mut Texts, operation: &'static str) {
    found.count(operation);
    texts.push(None);
}

fn recall(texts: &mut Texts, slot: u64) {
    let text = texts.memo.get(&slot).cloned().flatten();
    let is_known = !texts.memo_unknown;
    texts.push(text.filter(|_| is_known));
}

fn number<const N: usize>(c: &mut Cursor<'_, impl ReadAt>) -> Result<u64, ModelError> {
    let bytes: [u8; N] = c.array()?.ok_or(CUT)?;
    let mut whole = [0; 8];
    let low = whole.get_mut(..N).ok_or(CUT)?;
    low.copy_from_slice(&bytes);
    Ok(u64::from_le_bytes(whole))
}

fn skip(c: &mut Cursor<'_, impl ReadAt>, bytes: u64) -> Result<(), ModelError> {
    c.skip(bytes).ok_or(CUT)
}

fn value(c: &mut Cursor<'_, impl ReadAt>, texts: &mut Texts, bytes: u64) -> Result<(), ModelError> {
    skip(c, bytes)?;
    texts.push(None);
    Ok(())
}

/// Reads a length-prefixed string or bytes; only a short one can be part of a name.
fn counted_text<const N: usize>(
    c: &mut Cursor<'_, impl ReadAt>,
    texts: &mut Texts,
) -> Result<(), ModelError> {
    let len = number::<N>(c)?;
    if len > NAME_BYTES_MAX as u64 {
        return value(c, texts, len);
    }
    let text = c.text(len)?.ok_or(CUT)?;
    texts.push(Some(text.into()));
    Ok(())
}

/// Reads a memo index written as text.
///
/// Python accepts more forms of numbers than this. Other forms give an unknown index, not an error,
/// because a loader would continue.
fn memo_number(c: &mut Cursor<'_, impl ReadAt>) -> Result<Option<u64>, ModelError> {
    let line = line(c)?;
    // The end of a longer line is missing.
    let is_whole = line.len() < LINE_BYTES_MAX;
    Ok(line.trim().parse().ok().filter(|_| is_whole))
}

fn line(c: &mut Cursor<'_, impl ReadAt>) -> Result<String, ModelError> {
    let (line, ends) = line_or_rest(c)?;
    if ends { Ok(line) } else { Err(CUT) }
}

/// Reads a line, keeping only as much as could matter, and returns whether it is complete.
fn line_or_rest(c: &mut Cursor<'_, impl ReadAt>) -> Result<(String, bool), ModelError> {
    let (mut bytes, mut ends) = (Vec::new(), false);
    while let Some([byte]) = c.array()? {
        ends = byte == b'\n';
        if ends {
            break;
        }
        if bytes.len() < LINE_BYTES_MAX {
            bytes.push(byte);
        }
    }
    Ok((String::from_utf8_lossy(&bytes).into_owned(), ends))
}
