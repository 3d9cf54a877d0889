//! The files on which members show which rooms they hear: this one's own, and those of the others (`docs/mesh.md`, "Interest").
//!
//! A write is seen by whoever reads afterwards, in any process: the kernel has each file once. What stands where, and who is to hear of what, is
//! `sockeye_cluster`'s.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use smallvec::SmallVec;
use sockeye_cluster::mesh::{BOARD_BYTES, Ears, Hears, Mark, Tally};
use sockeye_cluster::{Message, Nsp};
use sockeye_proto::sid::{Sid, Tag};

use super::door;

/// This member's own board.
#[derive(Debug)]
pub(crate) struct Board {
    tag: Tag,
    file: File,
    shown: Mutex<Shown>,
}

#[derive(Debug, Default)]
struct Shown {
    tally: Tally,
    /// It has become empty, which means: everything is heard.
    given_up: bool,
}

impl Board {
    /// Makes an empty board in the mesh's directory, in place of one that another process has left.
    pub(super) fn open(dir: &Path, tag: Tag) -> io::Result<Self> {
        let path = door::board_path(dir, tag);
        door::remove(&path)?;
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        // Written, so that there is room for every byte from here on.
        file.write_all_at(&vec![0; BOARD_BYTES.get() as usize], 0)?;
        Ok(Self { tag, file, shown: Mutex::default() })
    }

    /// Shows that a socket is about to be in a namespace. Its own room needs no mark where the id has this member's tag.
    pub(crate) fn come(&self, nsp: &Nsp, id: Sid) {
        self.enter(nsp, None);
        if id.tag() != self.tag {
            self.enter(nsp, Some(id.as_str()));
        }
    }

    /// Shows that a socket is in a namespace no more.
    pub(crate) fn go(&self, nsp: &Nsp, id: Sid) {
        self.leave(nsp, None);
        if id.tag() != self.tag {
            self.leave(nsp, Some(id.as_str()));
        }
    }

    /// Shows that a socket is about to be in a room.
    pub(crate) fn enter(&self, nsp: &Nsp, room: Option<&str>) {
        let mut shown = self.shown.lock();
        if let Some(mark) = shown.tally.enter(nsp, room) {
            self.write(&mut shown, mark);
        }
    }

    /// Shows that a socket is in a room no more.
    pub(crate) fn leave(&self, nsp: &Nsp, room: Option<&str>) {
        let mut shown = self.shown.lock();
        if let Some(mark) = shown.tally.leave(nsp, room) {
            self.write(&mut shown, mark);
        }
    }

    /// Shows that everything is heard here, for good.
    pub(crate) fn give_up(&self) {
        self.empty(&mut self.shown.lock());
    }

    fn write(&self, shown: &mut Shown, Mark { place, heard }: Mark) {
        if shown.given_up {
            return;
        }
        if let Err(error) = self.file.write_all_at(&[u8::from(heard)], u64::from(place)) {
            tracing::warn!(%error, "the board of rooms cannot be written: this member hears everything");
            self.empty(shown);
        }
    }

    fn empty(&self, shown: &mut Shown) {
        shown.given_up = true;
        if let Err(error) = self.file.set_len(0) {
            tracing::error!(%error, "the board of rooms cannot be emptied: broadcasts may be missed here");
        }
    }
}

/// Who hears what, and the boards of the others.
#[derive(Debug)]
pub(super) struct Audience {
    dir: PathBuf,
    ears: Ears,
    boards: BTreeMap<Tag, File>,
    /// Messages that were not sent to a member, for nobody is there whom they concern.
    spared: u64,
}

impl Audience {
    pub(super) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), ears: Ears::default(), boards: BTreeMap::new(), spared: 0 }
    }

    /// Takes what a member's hello says. A board that cannot be opened is none.
    pub(super) fn greeted(&mut self, tag: Tag, hears: Hears) {
        self.boards.remove(&tag);
        let opened = hears.board.and_then(|_| File::open(door::board_path(&self.dir, tag)).ok());
        let board = hears.board.filter(|_| opened.is_some());
        self.boards.extend(opened.map(|file| (tag, file)));
        self.ears.handle_hello(tag, Hears { board, ..hears });
    }

    pub(super) fn left(&mut self, tag: Tag) {
        self.boards.remove(&tag);
        self.ears.handle_left(tag);
    }

    /// What the members hear, for what changes there.
    pub(super) const fn ears(&mut self) -> &mut Ears {
        &mut self.ears
    }

    /// Those of the members that are to hear of a message.
    pub(super) fn of(
        &mut self,
        nsp: &Nsp,
        message: &Message,
        members: impl Iterator<Item = Tag>,
    ) -> SmallVec<[Tag; 16]> {
        let Self { ears, boards, spared, .. } = self;
        let hears = |tag: &Tag| {
            let board = boards.get(tag);
            let hears = ears.hears(*tag, nsp, message, |place| is_set(board, place));
            *spared += u64::from(!hears);
            hears
        };
        members.filter(hears).collect()
    }

    pub(super) const fn spared(&self) -> u64 {
        self.spared
    }
}

/// Whether a byte is set, or cannot be had.
fn is_set(board: Option<&File>, place: u32) -> bool {
    let mut byte = [0];
    let read = board.map(|file| file.read_at(&mut byte, u64::from(place)));
    !matches!(read, Some(Ok(1))) || byte != [0]
}
