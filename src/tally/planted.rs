//! Bugs that the simulation must find, planted one at a time. They exist in this crate's own tests only.

use std::cell::Cell;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    DropMarker,
    FoldDuplicate,
    CloseEarly,
    ForgetNext,
    CountLateTwice,
    ActOnRevision,
    LoseInit,
    TrustDeadIdle,
}

impl Bug {
    pub(crate) const ALL: [Bug; 8] = [
        Bug::DropMarker,
        Bug::FoldDuplicate,
        Bug::CloseEarly,
        Bug::ForgetNext,
        Bug::CountLateTwice,
        Bug::ActOnRevision,
        Bug::LoseInit,
        Bug::TrustDeadIdle,
    ];

    /// Whether it is planted in this thread.
    pub(crate) fn is_planted(self) -> bool {
        PLANTED.with(|planted| planted.get() == Some(self))
    }

    /// Runs `body` with the bug planted in this thread.
    pub(crate) fn plant<T>(self, body: impl FnOnce() -> T) -> T {
        PLANTED.with(|planted| planted.set(Some(self)));
        let result = body();
        PLANTED.with(|planted| planted.set(None));
        result
    }
}

thread_local! {
    static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
}
