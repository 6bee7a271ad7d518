//! Scanning of pickles (Python's `pickletools`), which are never run.
//!
//! A pickle is a program: loading it imports and calls the names it contains. This scan follows the
//! operations only as far as needed to determine which names would be imported. It builds nothing.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    rc::Rc,
};

use casemate_seal::ReadAt;

use crate::{
    Format, Model, ModelError,
    cursor::Cursor,
    opcodes::{CUT, Line, NAME_BYTES_MAX, Op, Opcode, Operand, malformed, read_operation},
    torch_types::is_for_weights,
};

/// Most operations of a pickle.
pub(crate) const OPERATIONS_MAX: usize = 1 << 22;
/// Most memorised values.
const MEMO_MAX: usize = 1 << 20;
/// Most distinct names that are listed.
const NAMES_MAX: usize = 4096;

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

    fn recall(&mut self, slot: u64) {
        let text = self.memo.get(&slot).cloned().flatten();
        let is_known = !self.memo_unknown;
        self.push(text.filter(|_| is_known));
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
        let (opcode, operand) = read_operation(c)?;
        // It needs two values, and one operation leaves at most one. NumPy files begin like this.
        if opcode.op == Op::StackGlobal && first.saturating_sub(*left) < 2 {
            return Err(malformed("a name is taken from an empty stack"));
        }
        *left = left.checked_sub(1).ok_or(ModelError::Limit("operations"))?;
        match (opcode.op, operand) {
            (Op::Stop, _) => return frame.stop(c.at()),
            (Op::Frame, Operand::Number(len)) => frame.begin(len, c.at(), c.left())?,
            (_, operand) => step(opcode, operand, found, &mut texts)?,
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
    fn begin(&mut self, len: u64, at: u64, left: u64) -> Result<(), ModelError> {
        if self.end.is_some() {
            return Err(malformed("a frame begins inside another"));
        }
        if len > left {
            return Err(CUT);
        }
        self.end = at.checked_add(len);
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

/// Follows one operation as far as names can be built from it.
fn step(
    opcode: &'static Opcode,
    operand: Operand,
    found: &mut Pickle,
    texts: &mut Texts,
) -> Result<(), ModelError> {
    match opcode.op {
        Op::Global | Op::Inst | Op::StackGlobal => return import(opcode, operand, found, texts),
        Op::Reduce
        | Op::Obj
        | Op::NewObj
        | Op::NewObjEx
        | Op::Build
        | Op::PersId
        | Op::BinPersId => {
            found.count(opcode.name);
            texts.push(None);
        }
        // Names from a registry that the loading program fills.
        Op::Ext1 | Op::Ext2 | Op::Ext4 => {
            found.computed_names = true;
            found.count("EXT");
            texts.push(None);
        }
        // Operations that reorder strings on the stack: a name that follows is treated as computed.
        Op::Pop | Op::PopMark | Op::Dup => {
            texts.push(None);
            texts.push(None);
        }
        Op::Memoize | Op::BinPut | Op::LongBinPut | Op::Put => match slot(&operand, texts) {
            Some(slot) => texts.keep(slot)?,
            None => texts.memo_unknown = true,
        },
        Op::BinGet | Op::LongBinGet | Op::Get => match slot(&operand, texts) {
            Some(slot) => texts.recall(slot),
            None => texts.push(None),
        },
        Op::Proto => (),
        _ => texts.push(text(opcode.op, operand)),
    }
    Ok(())
}

fn import(
    opcode: &'static Opcode,
    operand: Operand,
    found: &mut Pickle,
    texts: &mut Texts,
) -> Result<(), ModelError> {
    match (operand, &texts.recent) {
        (Operand::TwoLines(module, name), _) => found.import(&module.to_text(), &name.to_text())?,
        (_, [Some(module), Some(name)]) => {
            let (module, name) = (Rc::clone(module), Rc::clone(name));
            found.import(&module, &name)?;
        }
        _ => found.computed_names = true,
    }
    found.count(opcode.name);
    texts.push(None);
    Ok(())
}

/// The string that an operation pushes, if it pushes one that can be part of a name.
///
/// Byte strings count: some loaders decode them.
fn text(op: Op, operand: Operand) -> Option<Rc<str>> {
    match operand {
        Operand::Line(line) if matches!(op, Op::Unicode | Op::String) => {
            let text = line.to_text();
            let is_name = text.len() as u64 <= NAME_BYTES_MAX;
            is_name.then(|| text.trim_matches(['\'', '"']).into())
        }
        Operand::Counted(bytes) if !matches!(op, Op::Long1 | Op::Long4) => {
            bytes.map(|bytes| String::from_utf8_lossy(&bytes).into())
        }
        _ => None,
    }
}

/// The index in the memo that an operation names.
fn slot(operand: &Operand, texts: &Texts) -> Option<u64> {
    match operand {
        Operand::None => Some(texts.memo.len() as u64),
        Operand::Number(slot) => Some(*slot),
        Operand::Line(line) => memo_number(line),
        _ => None,
    }
}

/// Reads a memo index written as text.
///
/// Python accepts more forms of numbers than this. Other forms give an unknown index, not an error,
/// because a loader would continue.
fn memo_number(line: &Line) -> Option<u64> {
    let number = line.to_text().trim().parse().ok();
    // The end of a longer line is missing.
    number.filter(|_| line.is_whole())
}
