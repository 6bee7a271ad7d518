//! An in-memory store with faults.

use std::{
    fmt,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

use async_trait::async_trait;
use futures_util::{TryStreamExt as _, stream::BoxStream};
use object_store::{
    CopyOptions, Error, GetOptions, GetRange, GetResult, ListResult, MultipartId, MultipartUpload,
    ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
    list::{PaginatedListOptions, PaginatedListResult, PaginatedListStore},
    memory::InMemory,
    multipart::{MultipartStore, PartId},
    path::Path,
};
use tokio::sync::watch;

pub(super) struct Faulty {
    pub(super) inner: InMemory,
    /// The next write succeeds, but its response is an error.
    pub(super) loses_answer: AtomicBool,
    /// The next completion does nothing, and its response is an error.
    pub(super) fails_completion: AtomicBool,
    /// Number of parts accepted before every further one fails.
    pub(super) parts_left: AtomicUsize,
    /// Number of parts accepted.
    pub(super) parts_taken: AtomicUsize,
    /// The next ranged read panics.
    pub(super) panics: AtomicBool,
    listing: Listing,
    turns: Option<Turns>,
}

/// Objects on a page of a listing.
const PAGE: usize = 2;

/// How the store lists.
pub(super) enum Listing {
    /// Page by page.
    Whole,
    /// The same empty page forever.
    Stuck,
    /// A new empty page forever.
    Empty,
}

/// Makes the first reads wait for each other and end in reverse order.
struct Turns {
    readers: usize,
    arrived: AtomicUsize,
    turn: watch::Sender<usize>,
}

impl Faulty {
    pub(super) fn new() -> Self {
        Self {
            inner: InMemory::new(),
            loses_answer: AtomicBool::default(),
            fails_completion: AtomicBool::default(),
            parts_left: AtomicUsize::new(usize::MAX),
            parts_taken: AtomicUsize::default(),
            panics: AtomicBool::default(),
            listing: Listing::Whole,
            turns: None,
        }
    }

    pub(super) fn listing(listing: Listing) -> Self {
        Self {
            listing,
            ..Self::new()
        }
    }

    /// The first `readers` ranged reads are answered once all of them have started, the last one
    /// first.
    pub(super) fn reversing(readers: usize) -> Self {
        Self {
            turns: Some(Turns {
                readers,
                arrived: AtomicUsize::default(),
                turn: watch::Sender::new(usize::MAX),
            }),
            ..Self::new()
        }
    }

    fn answer<T>(&self, done: T) -> Result<T> {
        if self.loses_answer.swap(false, Ordering::SeqCst) {
            return Err(lost());
        }
        Ok(done)
    }
}

fn lost() -> Error {
    Error::Generic {
        store: "faulty",
        source: "the answer was lost".into(),
    }
}

impl Turns {
    async fn wait(&self) -> Option<usize> {
        let place = self.arrived.fetch_add(1, Ordering::SeqCst);
        if place >= self.readers {
            return None;
        }
        let mut turn = self.turn.subscribe();
        if place + 1 == self.readers {
            self.turn.send_replace(place);
        }
        turn.wait_for(|now| *now == place).await.unwrap();
        Some(place)
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, at: &Path, bytes: PutPayload, how: PutOptions) -> Result<PutResult> {
        let put = self.inner.put_opts(at, bytes, how).await?;
        self.answer(put)
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        how: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(at, how).await
    }

    async fn get_opts(&self, at: &Path, how: GetOptions) -> Result<GetResult> {
        let is_ranged = matches!(how.range, Some(GetRange::Bounded(_)));
        assert!(
            !is_ranged || !self.panics.swap(false, Ordering::SeqCst),
            "a fault of the client"
        );
        let place = match &self.turns {
            Some(turns) if is_ranged => turns.wait().await,
            _ => None,
        };
        let got = self.inner.get_opts(at, how).await;
        if let (Some(turns), Some(place)) = (&self.turns, place) {
            turns.turn.send_replace(place.wrapping_sub(1));
        }
        got
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(paths)
    }

    fn list(&self, below: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(below)
    }

    async fn list_with_delimiter(&self, below: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(below).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, how: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, how).await
    }
}

#[async_trait]
impl MultipartStore for Faulty {
    async fn create_multipart(&self, at: &Path) -> Result<MultipartId> {
        self.inner.create_multipart(at).await
    }

    async fn put_part(
        &self,
        at: &Path,
        id: &MultipartId,
        number: usize,
        bytes: PutPayload,
    ) -> Result<PartId> {
        let left = self
            .parts_left
            .try_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                left.checked_sub(1)
            });
        left.map_err(|_| lost())?;
        let part = self.inner.put_part(at, id, number, bytes).await?;
        self.parts_taken.fetch_add(1, Ordering::SeqCst);
        Ok(part)
    }

    async fn complete_multipart(
        &self,
        at: &Path,
        id: &MultipartId,
        parts: Vec<PartId>,
    ) -> Result<PutResult> {
        if self.fails_completion.swap(false, Ordering::SeqCst) {
            return Err(lost());
        }
        let done = self.inner.complete_multipart(at, id, parts).await?;
        self.answer(done)
    }

    async fn abort_multipart(&self, at: &Path, id: &MultipartId) -> Result<()> {
        self.inner.abort_multipart(at, id).await
    }
}

#[async_trait]
impl PaginatedListStore for Faulty {
    async fn list_paginated(
        &self,
        below: Option<&str>,
        how: PaginatedListOptions,
    ) -> Result<PaginatedListResult> {
        let page = |objects, page_token: Option<&str>| PaginatedListResult {
            result: ListResult {
                common_prefixes: Vec::new(),
                objects,
                extensions: http::Extensions::default(),
            },
            page_token: page_token.map(str::to_owned),
        };
        match self.listing {
            Listing::Stuck => return Ok(page(Vec::new(), Some("same"))),
            Listing::Empty => {
                let turn = self.parts_taken.fetch_add(1, Ordering::SeqCst);
                return Ok(page(Vec::new(), Some(&turn.to_string())));
            }
            Listing::Whole => (),
        }
        let mut objects: Vec<_> = self.inner.list(None).try_collect().await?;
        objects.retain(|one| {
            let key = one.location.as_ref();
            let is_later = how.page_token.as_deref().is_none_or(|token| key > token);
            is_later && key.starts_with(below.unwrap_or_default())
        });
        objects.sort_by(|a, b| a.location.cmp(&b.location));
        let is_last = objects.len() <= PAGE;
        objects.truncate(PAGE);
        let token = objects.last().map(|one| one.location.to_string());
        Ok(page(objects, token.as_deref().filter(|_| !is_last)))
    }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Faulty")
    }
}

impl fmt::Debug for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Faulty")
    }
}
