//! What the key store knows to be sealed to its keys.

use std::collections::BTreeSet;

use casemate_audit::What;

use super::{
    KeyStore,
    session::{Edit, Session},
};
use crate::{Binding, KeyName, StoreError, engine::Engine, log::Event, row::RowKind};

impl<E: Engine> KeyStore<E> {
    /// Records what artifacts are sealed to, in one change.
    ///
    /// # Errors
    ///
    /// [`StoreError::PlaceTooLong`], [`StoreError::Full`], or the engine's error.
    pub fn bind(&self, bindings: &[Binding]) -> Result<(), StoreError> {
        if bindings.is_empty() {
            return Ok(());
        }
        self.commit(|session| {
            let mut edit = Edit::default();
            for binding in bindings {
                binding.check()?;
                let id = session.root().binding_row(&binding.place, &binding.name)?;
                edit.rows.insert(id, Some(binding.encode()));
            }
            let count = bindings.len();
            let names: BTreeSet<_> = bindings.iter().map(|one| one.name.as_str()).collect();
            let names: Vec<_> = names.into_iter().collect();
            let about = format!("{count} artifacts of {}", names.join(", "));
            edit.tell(Event::new(What::Bound).about(about));
            Ok((edit, ()))
        })
    }

    /// Records and forgets what is sealed to a key, in one change.
    ///
    /// # Errors
    ///
    /// As [`Self::bind`].
    pub fn rebind(
        &self,
        name: &KeyName,
        bind: &[Binding],
        unbind: &[String],
    ) -> Result<(), StoreError> {
        if bind.is_empty() && unbind.is_empty() {
            return Ok(());
        }
        self.commit(|session| {
            let mut edit = Edit::default();
            for binding in bind {
                binding.check()?;
                let id = session.root().binding_row(&binding.place, name)?;
                edit.rows.insert(id, Some(binding.encode()));
            }
            for place in unbind {
                let id = session.root().binding_row(place, name)?;
                edit.rows.insert(id, None);
            }
            let (bound, forgotten) = (bind.len(), unbind.len());
            let about = format!("{bound} artifacts of {name}, {forgotten} forgotten");
            edit.tell(Event::new(What::Bound).about(about));
            Ok((edit, ()))
        })
    }

    /// Returns whether a binding of this place to the key is known.
    ///
    /// # Errors
    ///
    /// [`StoreError::Nodes`], or the engine's error.
    pub fn is_bound(&self, place: &str, name: &KeyName) -> Result<bool, StoreError> {
        let session = self.session()?;
        let id = session.root().binding_row(place, name)?;
        Ok(session.row(id)?.is_some())
    }

    /// Forgets what was at these places.
    ///
    /// # Errors
    ///
    /// The engine's error.
    pub fn unbind(&self, name: &KeyName, places: &[String]) -> Result<(), StoreError> {
        if places.is_empty() {
            return Ok(());
        }
        self.commit(|session| {
            let mut edit = Edit::default();
            for place in places {
                edit.rows
                    .insert(session.root().binding_row(place, name)?, None);
            }
            let count = places.len();
            edit.tell(
                Event::new(What::Bound).about(format!("{count} artifacts of {name} forgotten")),
            );
            Ok((edit, ()))
        })
    }

    /// Returns what is known to be sealed to any key.
    ///
    /// # Errors
    ///
    /// As [`Self::bindings`].
    pub fn all_bindings(&self) -> Result<Vec<Binding>, StoreError> {
        let rows = self.session()?.rows_of(RowKind::Binding)?.into_iter();
        rows.map(|(id, plaintext)| Binding::decode(&plaintext, id))
            .collect()
    }

    /// Returns what is known to be sealed to a version of a key, by place.
    ///
    /// # Errors
    ///
    /// The first damage of a binding, and as [`Self::list`].
    pub fn bindings(&self, name: &KeyName) -> Result<Vec<Binding>, StoreError> {
        bindings(&self.session()?, name)
    }
}

/// Returns what is known to be sealed to a key, by place.
pub(super) fn bindings(session: &Session<'_>, name: &KeyName) -> Result<Vec<Binding>, StoreError> {
    let mut bindings = Vec::new();
    for (id, plaintext) in session.rows_of(RowKind::Binding)? {
        let binding = Binding::decode(&plaintext, id)?;
        if binding.name == *name {
            bindings.push(binding);
        }
    }
    bindings.sort_by(|a, b| a.place.cmp(&b.place));
    Ok(bindings)
}
