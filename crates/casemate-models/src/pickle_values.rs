//! The values that a pickle would build, determined without importing or calling anything: a call
//! is kept as a call with its arguments.
//!
//! This serves to list the weights in a file. To decide whether a pickle is safe, use
//! [`crate::scan_pickle`], which also handles malformed pickles.

use std::{collections::HashMap, rc::Rc, str};

/// Most operations of a pickle. Each creates or stores at most one value, except those that pop as
/// many from the stack.
const OPERATIONS_MAX: usize = 1 << 22;
/// Most values of a pickle.
const VALUES_MAX: usize = 1 << 21;
/// Longest string that is kept, in bytes.
const TEXT_BYTES_MAX: usize = 1024;

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
        rest: pickle,
        values: Values::default(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        import_bytes_left: IMPORT_BYTES_MAX,
    };
    for _ in 0..OPERATIONS_MAX {
        let operation = machine.byte()?;
        if operation == b'.' {
            let result = machine.pop()?;
            return Some((machine.values, result));
        }
        machine.step(operation)?;
    }
    None
}

struct Machine<'p> {
    rest: &'p [u8],
    values: Values,
    stack: Vec<Id>,
    marks: Vec<usize>,
    memo: HashMap<u64, Id>,
    import_bytes_left: usize,
}

/// Operations, by the names and numbers of Python's `pickletools`.
impl Machine<'_> {
    fn step(&mut self, operation: u8) -> Option<()> {
        match operation {
            // PROTO, FRAME.
            0x80 => self.take(1).map(drop),
            0x95 => self.take(8).map(drop),
            // NONE, NEWTRUE, NEWFALSE, BINFLOAT, FLOAT.
            b'N' | 0x88 | 0x89 => self.push(Value::Other),
            b'G' => self.bytes(Some(8)),
            b'F' => {
                self.line()?;
                self.push(Value::Other)
            }
            // SHORT_BINBYTES, BINBYTES, BINBYTES8, BYTEARRAY8.
            b'C' => {
                let len = self.length::<1>();
                self.bytes(len)
            }
            b'B' => {
                let len = self.length::<4>();
                self.bytes(len)
            }
            0x8e | 0x96 => {
                let len = self.length::<8>();
                self.bytes(len)
            }
            b'K' | b'M' | b'J' | b'I' | b'L' | 0x8a => {
                let value = self.integer(operation)?;
                self.push(value)
            }
            0x8c | b'U' | b'X' | b'T' | 0x8d | b'V' | b'S' => {
                let value = self.text(operation)?;
                self.push(value)
            }
            b'q' | b'r' | b'p' | 0x94 | b'h' | b'j' | b'g' => self.memo(operation),
            b'c' | 0x93 | b'R' | 0x81 | 0x92 | b'o' | b'i' | b'b' | b'Q' => self.call(operation),
            _ => self.container(operation),
        }
    }

    fn integer(&mut self, operation: u8) -> Option<Value> {
        let value = match operation {
            b'K' => self.take(1)?.first().copied().map(i64::from),
            b'M' => Some(i64::from(u16::from_le_bytes(*self.array()?))),
            b'J' => Some(i64::from(i32::from_le_bytes(*self.array()?))),
            0x8a => {
                let len = self.length::<1>()?;
                let bytes = self.take(len)?;
                // Two's complement of any length.
                let sign = bytes.last().is_some_and(|last| *last >= 0x80);
                let mut whole = [if sign { 0xff } else { 0 }; 8];
                let low = whole.get_mut(..len);
                let fits = low.map(|low| low.copy_from_slice(bytes));
                fits.map(|()| i64::from_le_bytes(whole))
            }
            // Python reads a leading zero as an octal number.
            _ => match self.line()?.trim_end_matches('L') {
                "0" => Some(0),
                text if text.trim_start_matches('-').starts_with('0') => None,
                text => text.parse().ok(),
            },
        };
        Some(value.map_or(Value::Other, Value::Integer))
    }

    fn text(&mut self, operation: u8) -> Option<Value> {
        let text = match operation {
            b'V' | b'S' => {
                let line = self.line()?;
                let quoted = ['\'', '"'].into_iter().find_map(|quote| {
                    let inner = line.strip_prefix(quote)?;
                    inner.strip_suffix(quote)
                });
                let text = if operation == b'S' { quoted? } else { line };
                // Escapes are not supported.
                (!text.contains('\\')).then_some(text)
            }
            0x8c | b'U' => {
                let len = self.length::<1>();
                str::from_utf8(self.take(len?)?).ok()
            }
            0x8d => {
                let len = self.length::<8>();
                str::from_utf8(self.take(len?)?).ok()
            }
            _ => {
                let len = self.length::<4>();
                str::from_utf8(self.take(len?)?).ok()
            }
        };
        let text = text.filter(|text| text.len() <= TEXT_BYTES_MAX);
        Some(text.map_or(Value::Other, |text| Value::Text(text.into())))
    }

    /// Handles PUT, BINPUT, `LONG_BINPUT`, MEMOIZE, GET, BINGET and `LONG_BINGET`.
    fn memo(&mut self, operation: u8) -> Option<()> {
        let slot = match operation {
            b'q' | b'h' => self.length::<1>()? as u64,
            b'r' | b'j' => self.length::<4>()? as u64,
            0x94 => self.memo.len() as u64,
            _ => self.line()?.parse().ok()?,
        };
        if matches!(operation, b'h' | b'j' | b'g') {
            self.stack.push(*self.memo.get(&slot)?);
        } else {
            let top = self.pop()?;
            self.memo.insert(slot, top);
            self.stack.push(top);
        }
        Some(())
    }

    /// Handles GLOBAL, `STACK_GLOBAL`, REDUCE, NEWOBJ, `NEWOBJ_EX`, OBJ, INST, BUILD and BINPERSID.
    fn call(&mut self, operation: u8) -> Option<()> {
        match operation {
            b'c' => {
                let import = self.two_lines()?;
                self.push(import)
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (module, name) = (self.values.text(module)?, self.values.text(name)?);
                // A one-byte fetch can create it again and again.
                let bytes = module.len().checked_add(name.len())?;
                self.import_bytes_left = self.import_bytes_left.checked_sub(bytes)?;
                let import = Value::Import(format!("{module} {name}").into());
                self.push(import)
            }
            b'R' | 0x81 => {
                let (arguments, function) = (self.pop()?, self.pop()?);
                self.called(function, arguments)
            }
            0x92 => {
                let (_named, arguments, function) = (self.pop()?, self.pop()?, self.pop()?);
                self.called(function, arguments)
            }
            b'o' => {
                let mut items = self.since_mark()?;
                let function = if items.is_empty() {
                    None
                } else {
                    Some(items.remove(0))
                };
                let arguments = self.add(Value::Tuple(items))?;
                self.called(function?, arguments)
            }
            b'i' => {
                let import = self.two_lines()?;
                let function = self.add(import)?;
                let items = self.since_mark()?;
                let arguments = self.add(Value::Tuple(items))?;
                self.called(function, arguments)
            }
            b'b' => {
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

    /// Handles tuples, lists, sets, dictionaries, marks and stack operations. Unknown operations
    /// fail here.
    fn container(&mut self, operation: u8) -> Option<()> {
        match operation {
            b'(' => {
                self.marks.push(self.stack.len());
                Some(())
            }
            b'0' => self.pop().map(drop),
            b'1' => self.since_mark().map(drop),
            b'2' => {
                let top = self.pop()?;
                self.stack.extend([top, top]);
                Some(())
            }
            b')' => self.push(Value::Tuple(Vec::new())),
            b']' | 0x8f => self.push(Value::Items(Vec::new())),
            b'}' => self.push(Value::Map(Vec::new())),
            0x85..=0x87 => {
                let count = usize::from(operation.checked_sub(0x84)?);
                let mut items = Vec::new();
                for _ in 0..count {
                    items.insert(0, self.pop()?);
                }
                self.push(Value::Tuple(items))
            }
            b't' => {
                let items = self.since_mark()?;
                self.push(Value::Tuple(items))
            }
            b'l' | 0x91 => {
                let items = self.since_mark()?;
                self.push(Value::Items(items))
            }
            b'd' => {
                let items = self.since_mark()?;
                self.push(Value::Map(pairs(&items)?))
            }
            b'a' => {
                let item = self.pop()?;
                self.append(&[item])
            }
            b'e' | 0x90 => {
                let items = self.since_mark()?;
                self.append(&items)
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.set_entries(&[key, value])
            }
            b'u' => {
                let items = self.since_mark()?;
                self.set_entries(&items)
            }
            _ => None,
        }
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

/// Access to bytes, values and the stack.
impl<'p> Machine<'p> {
    fn take(&mut self, len: usize) -> Option<&'p [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<&'p [u8; N]> {
        self.take(N)?.first_chunk()
    }

    fn byte(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| *byte)
    }

    /// Reads a length or a memo index of `N` bytes.
    fn length<const N: usize>(&mut self) -> Option<usize> {
        let mut whole = [0; 8];
        whole.get_mut(..N)?.copy_from_slice(self.array::<N>()?);
        usize::try_from(u64::from_le_bytes(whole)).ok()
    }

    fn line(&mut self) -> Option<&'p str> {
        let end = self.rest.iter().position(|byte| *byte == b'\n')?;
        let line = self.take(end)?;
        self.take(1)?;
        str::from_utf8(line).ok()
    }

    fn two_lines(&mut self) -> Option<Value> {
        let (module, name) = (self.line()?, self.line()?);
        let fits = module.len().max(name.len()) <= TEXT_BYTES_MAX;
        fits.then(|| Value::Import(format!("{module} {name}").into()))
    }

    fn bytes(&mut self, len: Option<usize>) -> Option<()> {
        self.take(len?)?;
        self.push(Value::Other)
    }

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
