//! The values that a pickle would build, determined without importing or calling anything: a call
//! is kept as a call with its arguments.
//!
//! This serves to list the weights in a file. To decide whether a pickle is safe, use
//! [`crate::scan_pickle`], which also handles malformed pickles.

use std::{collections::HashMap, rc::Rc, str};

use crate::{
    cursor::Cursor,
    opcodes::{Line, NAME_BYTES_MAX, Op, Operand, read_operation},
};

/// Most operations of a pickle. Each creates or stores at most one value, except those that pop as
/// many from the stack.
const OPERATIONS_MAX: usize = 1 << 22;
/// Most values of a pickle.
const VALUES_MAX: usize = 1 << 21;

/// Maximum total length of names that are built from strings, in bytes.
const IMPORT_BYTES_MAX: usize = 16 << 20;

/// The index of a value. Values refer to each other, possibly in cycles.
pub(crate) type Id = usize;

/// One value.
pub(crate) enum Value {
    /// Any other value.
    Other,
    Integer(i64),
    Text(Rc<str>),
    /// A name that would be imported: module, space and name.
    Import(Rc<str>),
    Tuple(Vec<Id>),
    /// A list or a set, which may still grow after it was passed to a call.
    Items(Vec<Id>),
    Map(Vec<(Id, Id)>),
    /// An object stored outside the pickle.
    Persistent(Id),
    Called(Box<Call>),
}

/// The result of a call, and what would be done with it.
pub(crate) struct Call {
    pub(crate) function: Id,
    pub(crate) arguments: Id,
    /// Entries that are set later, as in an `OrderedDict`.
    pub(crate) entries: Vec<(Id, Id)>,
    /// The state of an object.
    pub(crate) state: Option<Id>,
}

/// Every value of a pickle.
#[derive(Default)]
pub(crate) struct Values(Vec<Value>);

impl Values {
    pub(crate) fn get(&self, id: Id) -> Option<&Value> {
        self.0.get(id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Id, &Value)> {
        self.0.iter().enumerate()
    }

    pub(crate) fn text(&self, id: Id) -> Option<&str> {
        match self.get(id)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn import(&self, id: Id) -> Option<&str> {
        match self.get(id)? {
            Value::Import(name) => Some(name),
            _ => None,
        }
    }

    pub(crate) fn call(&self, id: Id) -> Option<&Call> {
        match self.get(id)? {
            Value::Called(call) => Some(call),
            _ => None,
        }
    }

    pub(crate) fn tuple(&self, id: Id) -> Option<&[Id]> {
        match self.get(id)? {
            Value::Tuple(items) => Some(items),
            _ => None,
        }
    }
}

/// Follows a pickle to its end. Returns `None` if it is malformed, too large, or uses unsupported
/// operations.
pub(crate) fn follow(pickle: &[u8]) -> Option<(Values, Id)> {
    let mut machine = Machine {
        values: Values::default(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        import_bytes_left: IMPORT_BYTES_MAX,
    };
    let mut cursor = Cursor::new(&pickle).ok()?;
    for _ in 0..OPERATIONS_MAX {
        let (opcode, operand) = read_operation(&mut cursor).ok()?;
        if opcode.op == Op::Stop {
            let result = machine.pop()?;
            return Some((machine.values, result));
        }
        machine.step(opcode.op, operand)?;
    }
    None
}

struct Machine {
    values: Values,
    stack: Vec<Id>,
    marks: Vec<usize>,
    memo: HashMap<u64, Id>,
    import_bytes_left: usize,
}

impl Machine {
    fn step(&mut self, op: Op, operand: Operand) -> Option<()> {
        match op {
            Op::Proto | Op::Frame => Some(()),
            Op::None
            | Op::NewTrue
            | Op::NewFalse
            | Op::BinFloat
            | Op::Float
            | Op::ShortBinBytes
            | Op::BinBytes
            | Op::BinBytes8
            | Op::ByteArray8 => self.push(Value::Other),
            Op::BinInt1 | Op::BinInt2 | Op::BinInt | Op::Int | Op::Long | Op::Long1 => {
                let value = integer(op, operand)?;
                self.push(value)
            }
            Op::ShortBinUnicode
            | Op::BinUnicode
            | Op::BinUnicode8
            | Op::ShortBinString
            | Op::BinString
            | Op::Unicode
            | Op::String => {
                let value = text(op, &operand)?;
                self.push(value)
            }
            Op::BinPut
            | Op::LongBinPut
            | Op::Put
            | Op::Memoize
            | Op::BinGet
            | Op::LongBinGet
            | Op::Get => self.memo(op, &operand),
            Op::Global
            | Op::StackGlobal
            | Op::Reduce
            | Op::NewObj
            | Op::NewObjEx
            | Op::Obj
            | Op::Inst
            | Op::Build
            | Op::BinPersId => self.call(op, &operand),
            _ => self.container(op),
        }
    }

    fn memo(&mut self, op: Op, operand: &Operand) -> Option<()> {
        let slot = match operand {
            Operand::None => self.memo.len() as u64,
            Operand::Number(slot) => *slot,
            Operand::Line(line) => exact(line)?.parse().ok()?,
            _ => return None,
        };
        if matches!(op, Op::BinGet | Op::LongBinGet | Op::Get) {
            self.stack.push(*self.memo.get(&slot)?);
        } else {
            let top = self.pop()?;
            self.memo.insert(slot, top);
            self.stack.push(top);
        }
        Some(())
    }

    fn call(&mut self, op: Op, operand: &Operand) -> Option<()> {
        match op {
            Op::Global => self.push(import(operand)?),
            Op::StackGlobal => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (module, name) = (self.values.text(module)?, self.values.text(name)?);
                // A one-byte fetch can create it again and again.
                let bytes = module.len().checked_add(name.len())?;
                self.import_bytes_left = self.import_bytes_left.checked_sub(bytes)?;
                let import = Value::Import(format!("{module} {name}").into());
                self.push(import)
            }
            Op::Reduce | Op::NewObj => {
                let (arguments, function) = (self.pop()?, self.pop()?);
                self.called(function, arguments)
            }
            Op::NewObjEx => {
                let (_named, arguments, function) = (self.pop()?, self.pop()?, self.pop()?);
                self.called(function, arguments)
            }
            Op::Obj => {
                let mut items = self.since_mark()?;
                let function = if items.is_empty() {
                    None
                } else {
                    Some(items.remove(0))
                };
                let arguments = self.add(Value::Tuple(items))?;
                self.called(function?, arguments)
            }
            Op::Inst => {
                let function = self.add(import(operand)?)?;
                let items = self.since_mark()?;
                let arguments = self.add(Value::Tuple(items))?;
                self.called(function, arguments)
            }
            Op::Build => {
                let state = self.pop()?;
                // For anything else, it would change a shared object, and a second state would
                // extend the first.
                match self.top()? {
                    Value::Called(call) if call.state.is_none() => call.state = Some(state),
                    _ => return None,
                }
                Some(())
            }
            _ => {
                let name = self.pop()?;
                self.push(Value::Persistent(name))
            }
        }
    }

    /// Handles tuples, lists, sets, dictionaries, marks and stack operations. Operations that are
    /// not supported fail here.
    fn container(&mut self, op: Op) -> Option<()> {
        match op {
            Op::Mark => {
                self.marks.push(self.stack.len());
                Some(())
            }
            Op::Pop => self.pop().map(drop),
            Op::PopMark => self.since_mark().map(drop),
            Op::Dup => {
                let top = self.pop()?;
                self.stack.extend([top, top]);
                Some(())
            }
            Op::EmptyTuple => self.push(Value::Tuple(Vec::new())),
            Op::EmptyList | Op::EmptySet => self.push(Value::Items(Vec::new())),
            Op::EmptyDict => self.push(Value::Map(Vec::new())),
            Op::Tuple1 => self.tuple(1),
            Op::Tuple2 => self.tuple(2),
            Op::Tuple3 => self.tuple(3),
            Op::Tuple => {
                let items = self.since_mark()?;
                self.push(Value::Tuple(items))
            }
            Op::List | Op::FrozenSet => {
                let items = self.since_mark()?;
                self.push(Value::Items(items))
            }
            Op::Dict => {
                let items = self.since_mark()?;
                self.push(Value::Map(pairs(&items)?))
            }
            Op::Append => {
                let item = self.pop()?;
                self.append(&[item])
            }
            Op::Appends | Op::AddItems => {
                let items = self.since_mark()?;
                self.append(&items)
            }
            Op::SetItem => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.set_entries(&[key, value])
            }
            Op::SetItems => {
                let items = self.since_mark()?;
                self.set_entries(&items)
            }
            _ => None,
        }
    }

    fn tuple(&mut self, len: usize) -> Option<()> {
        let mut items = Vec::new();
        for _ in 0..len {
            items.insert(0, self.pop()?);
        }
        self.push(Value::Tuple(items))
    }

    fn append(&mut self, new: &[Id]) -> Option<()> {
        let Value::Items(items) = self.top()? else {
            return None;
        };
        items.extend_from_slice(new);
        Some(())
    }

    fn set_entries(&mut self, new: &[Id]) -> Option<()> {
        let new = pairs(new)?;
        match self.top()? {
            Value::Map(entries) => entries.extend(new),
            Value::Called(call) => call.entries.extend(new),
            _ => return None,
        }
        Some(())
    }

    fn called(&mut self, function: Id, arguments: Id) -> Option<()> {
        let call = Call {
            function,
            arguments,
            entries: Vec::new(),
            state: None,
        };
        self.push(Value::Called(Box::new(call)))
    }
}

/// Access to values and the stack.
impl Machine {
    fn add(&mut self, value: Value) -> Option<Id> {
        let id = self.values.0.len();
        if id >= VALUES_MAX {
            return None;
        }
        self.values.0.push(value);
        Some(id)
    }

    fn push(&mut self, value: Value) -> Option<()> {
        let id = self.add(value)?;
        self.stack.push(id);
        Some(())
    }

    /// Pops the last value, unless a mark precedes it.
    fn pop(&mut self) -> Option<Id> {
        let mark = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() > mark {
            self.stack.pop()
        } else {
            None
        }
    }

    fn top(&mut self) -> Option<&mut Value> {
        let id = *self.stack.last()?;
        self.values.0.get_mut(id)
    }

    fn since_mark(&mut self) -> Option<Vec<Id>> {
        let mark = self.marks.pop()?;
        (mark <= self.stack.len()).then(|| self.stack.split_off(mark))
    }
}

fn pairs(items: &[Id]) -> Option<Vec<(Id, Id)>> {
    let (pairs, rest) = items.as_chunks::<2>();
    rest.is_empty()
        .then(|| pairs.iter().map(|[key, value]| (*key, *value)).collect())
}

/// The text of a line that is whole.
fn exact(line: &Line) -> Option<&str> {
    let text = str::from_utf8(&line.bytes).ok()?;
    (line.ends && line.is_whole()).then_some(text)
}

fn import(operand: &Operand) -> Option<Value> {
    let Operand::TwoLines(module, name) = operand else {
        return None;
    };
    let (module, name) = (exact(module)?, exact(name)?);
    let fits = module.len().max(name.len()) as u64 <= NAME_BYTES_MAX;
    fits.then(|| Value::Import(format!("{module} {name}").into()))
}

fn integer(op: Op, operand: Operand) -> Option<Value> {
    let value = match operand {
        Operand::Number(number) if op == Op::BinInt => {
            let bits = u32::try_from(number).ok()?;
            Some(i64::from(bits.cast_signed()))
        }
        Operand::Number(number) => i64::try_from(number).ok(),
        Operand::Counted(bytes) => {
            let bytes = bytes?;
            // Two's complement of any length.
            let sign = bytes.last().is_some_and(|last| *last >= 0x80);
            let mut whole = [if sign { 0xff } else { 0 }; 8];
            let low = whole.get_mut(..bytes.len());
            let fits = low.map(|low| low.copy_from_slice(&bytes));
            fits.map(|()| i64::from_le_bytes(whole))
        }
        // The end is missing.
        Operand::Line(line) if !line.is_whole() => None,
        Operand::Line(line) => {
            let text = str::from_utf8(&line.bytes).ok()?;
            match text.trim_end_matches('L') {
                "0" => Some(0),
                // Python reads a leading zero as an octal number.
                text if text.trim_start_matches(['-', '+']).starts_with('0') => None,
                text => text.parse().ok(),
            }
        }
        _ => return None,
    };
    Some(value.map_or(Value::Other, Value::Integer))
}

fn text(op: Op, operand: &Operand) -> Option<Value> {
    let text = match operand {
        Operand::Line(line) if !line.is_whole() => None,
        Operand::Line(line) => {
            let line = exact(line)?;
            let quoted = ['\'', '"'].into_iter().find_map(|quote| {
                let inner = line.strip_prefix(quote)?;
                inner.strip_suffix(quote)
            });
            let text = if op == Op::String { quoted? } else { line };
            // Escapes are not supported.
            (!text.contains('\\')).then_some(text)
        }
        Operand::Counted(bytes) => bytes.as_ref().and_then(|bytes| str::from_utf8(bytes).ok()),
        _ => return None,
    };
    let text = text.filter(|text| text.len() as u64 <= NAME_BYTES_MAX);
    Some(text.map_or(Value::Other, |text| Value::Text(text.into())))
}
