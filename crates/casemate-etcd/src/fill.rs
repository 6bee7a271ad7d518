//! Copies of key stores into an empty place.

use casemate_keys::{Change, EngineError, Put, Table, View, each};

use crate::{
    api::{Bytes, Compare, DeleteRangeRequest, Operation, TxnRequest},
    call::Kind,
    engine::EtcdEngine,
    generation::{Generation, ID_BYTES},
    staged::{PART_BYTES_MAX, PUTS_MAX},
};

/// Fills an empty place with everything that a view shows.
pub(crate) fn fill(engine: &EtcdEngine, view: &dyn View) -> Result<(), EngineError> {
    let head = view.head()?;
    let head = head.ok_or(EngineError::Foreign("its header is missing"))?;
    let claim = Claim::take(engine)?;
    for table in [Table::Rows, Table::Nodes, Table::Entries] {
        let mut waiting: Vec<Put> = Vec::new();
        let mut bytes = 0_usize;
        each(view, table, &mut |key, value| {
            let len = key.len().saturating_add(value.len());
            if waiting.len() >= PUTS_MAX || bytes.saturating_add(len) > PART_BYTES_MAX {
                claim.write(&waiting)?;
                waiting.clear();
                bytes = 0;
            }
            bytes = bytes.saturating_add(len);
            waiting.push((table, key.to_vec(), Some(value.to_vec())));
            Ok::<(), EngineError>(())
        })?;
        claim.write(&waiting)?;
    }
    let change = Change {
        header: Some(head.header),
        index: head.index,
        put: Vec::new(),
    };
    let generation = Generation {
        number: head.generation,
        parts: 0,
        id: engine.new_id()?,
    };
    let is_ours = Some(claim.compare());
    engine.commit_at_once(None, (generation, &change, &[]), is_ours)?;
    engine.cache.borrow_mut().clear();
    Ok(())
}

/// The right to fill an empty place.
struct Claim<'a> {
    engine: &'a EtcdEngine,
    id: [u8; ID_BYTES],
}

impl<'a> Claim<'a> {
    /// Takes the claim from whoever had it, and removes what was written under it.
    fn take(engine: &'a EtcdEngine) -> Result<Self, EngineError> {
        let id = engine.new_id()?;
        let mut success = vec![Operation::put(engine.key(&[b"c"]), id.to_vec())];
        success.extend([Table::Rows, Table::Nodes, Table::Entries].map(|table| {
            Operation::DeleteRange(DeleteRangeRequest {
                key: Bytes(engine.key_of(table, &[])),
                range_end: Bytes(engine.end_of(table)),
            })
        }));
        let request = TxnRequest {
            compare: vec![engine.is_still(None)],
            success,
        };
        // Sent once: a late copy of it would remove what is written under it.
        if engine.txn(&request, Kind::Once)?.succeeded {
            Ok(Self { engine, id })
        } else {
            Err(EngineError::Conflict)
        }
    }

    fn compare(&self) -> Compare {
        Compare::value(self.engine.key(&[b"c"]), self.id.to_vec())
    }

    fn write(&self, puts: &[Put]) -> Result<(), EngineError> {
        let request = TxnRequest {
            compare: vec![self.engine.is_still(None), self.compare()],
            success: puts.iter().map(|put| self.engine.operation(put)).collect(),
        };
        if self.engine.txn(&request, Kind::Repeatable)?.succeeded {
            Ok(())
        } else {
            Err(EngineError::Conflict)
        }
    }
}
