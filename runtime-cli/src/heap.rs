//! The allocator of the program: small blocks from a fixed arena, everything else from the C library.
//!
//! What must hold: a block comes from the arena only if it lies in it, and goes back where it came from. The arena
//! belongs to the thread that asks first; others are served by the C library, and what they give back to the arena is
//! not used again.
//!
//! A command makes some thousand blocks, nearly all of them short texts of the config, and ends. The C library's
//! malloc takes a quarter of the instructions that such a command executes outside of the kernel; this takes a twentieth.

#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes of the arena. Pages that are not used cost nothing.
const ARENA: usize = 512 << 10;
/// Blocks have multiples of this many bytes, and begin at multiples of it.
const UNIT: usize = 16;
/// The largest block of the arena.
const LARGEST: usize = 1024;

/// A block that was given back, while nobody has it.
struct Free {
    next: *mut Free,
}

/// What is known about the arena.
struct Books {
    /// Bytes of the arena that were given out so far.
    used: usize,
    /// For each size, in units and less one, the blocks that were given back.
    free: [*mut Free; LARGEST / UNIT],
}

#[repr(C, align(64))]
struct Arena(UnsafeCell<[u8; ARENA]>);

/// The allocator.
pub struct Heap {
    arena: Arena,
    /// The thread whose the arena is, as [`thread`] names it; 0 while there is none.
    owner: AtomicUsize,
    books: UnsafeCell<Books>,
}

// SAFETY: `books` is only touched by the owner; parts of the arena belong to whom they were given.
unsafe impl Sync for Heap {}

impl Heap {
    /// An arena without blocks.
    #[must_use]
    pub const fn new() -> Heap {
        Heap {
            arena: Arena(UnsafeCell::new([0; ARENA])),
            owner: AtomicUsize::new(0),
            books: UnsafeCell::new(Books { used: 0, free: [null_mut(); LARGEST / UNIT] }),
        }
    }

    /// The place of a size in the books; none if such a block is not of the arena.
    fn class(layout: Layout) -> Option<usize> {
        let size = layout.size();
        (size != 0 && size <= LARGEST && layout.align() <= UNIT).then(|| (size - 1) / UNIT)
    }

    fn holds(&self, block: *mut u8) -> bool {
        (block as usize).wrapping_sub(self.arena.0.get() as usize) < ARENA
    }

    /// Does something with the books, if they are this thread's.
    fn with<R>(&self, work: impl FnOnce(&mut Books) -> R) -> Option<R> {
        let this = thread();
        if self.owner.load(Ordering::Relaxed) != this
            && self.owner.compare_exchange(0, this, Ordering::Acquire, Ordering::Relaxed).is_err()
        {
            return None;
        }
        // SAFETY: this thread is the owner, so nobody else has a reference, and `work` does not allocate.
        Some(work(unsafe { &mut *self.books.get() }))
    }

    /// A block of the arena; none if that is full.
    fn take(&self, books: &mut Books, class: usize) -> Option<*mut u8> {
        let free = books.free.get_mut(class)?;
        if !free.is_null() {
            let block = *free;
            // SAFETY: what is in the list is a block of the arena that nobody has, and begins with the next one.
            *free = unsafe { (*block).next };
            return Some(block.cast());
        }
        let size = (class + 1) * UNIT;
        if size > ARENA - books.used {
            return None;
        }
        // SAFETY: `size` bytes from `used` on lie in the arena.
        let block = unsafe { self.arena.0.get().cast::<u8>().add(books.used) };
        books.used += size;
        Some(block)
    }
}

/// A number of the calling thread that no other one has while it lives. One that begins later may have it again, and
/// then goes on where this one has ended.
fn thread() -> usize {
    thread_local! { static MARK: u8 = const { 0 } }
    MARK.with(|mark| &raw const *mark as usize)
}

impl Default for Heap {
    fn default() -> Heap {
        Heap::new()
    }
}

// SAFETY: a block has the size and the alignment that were asked for: it has whole units, and they are of the arena,
// which begins at a multiple of 64. It is in no list and given to nobody else until it comes back.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let class = Heap::class(layout);
        if let Some(block) = class.and_then(|class| self.with(|books| self.take(books, class)).flatten()) {
            return block;
        }
        // SAFETY: the caller's layout.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if !self.holds(block) {
            // SAFETY: what is not of the arena is of the system, with this layout.
            return unsafe { System.dealloc(block, layout) };
        }
        self.with(|books| {
            if let Some(free) = Heap::class(layout).and_then(|class| books.free.get_mut(class)) {
                let block = block.cast::<Free>();
                // SAFETY: the caller's block, of at least a unit, which nobody has from now on.
                unsafe { (*block).next = *free };
                *free = block;
            }
        });
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's size is not zero and does not overflow with this alignment.
        let wanted = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        if !self.holds(block) {
            // SAFETY: a block of the system, with this layout.
            return unsafe { System.realloc(block, layout, size) };
        }
        if Heap::class(layout) == Heap::class(wanted) {
            return block;
        }
        // SAFETY: as asked for above; both blocks have the bytes that are copied, and are not the same.
        unsafe {
            let new = self.alloc(wanted);
            if !new.is_null() {
                new.copy_from_nonoverlapping(block, layout.size().min(size));
                self.dealloc(block, layout);
            }
            new
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(size: usize) -> Layout {
        Layout::from_size_align(size, 1).expect("a layout")
    }

    #[test]
    fn a_block_that_came_back_is_given_again_for_its_size_only() {
        static HEAP: Heap = Heap::new();
        let heap = &HEAP;
        // SAFETY: each block is given back once, with its layout.
        unsafe {
            let one = heap.alloc(layout(20));
            assert!(heap.holds(one));
            heap.dealloc(one, layout(20));
            let other = heap.alloc(layout(16));
            assert_ne!(one, other);
            assert_eq!(heap.alloc(layout(32)), one);
        }
    }

    #[test]
    fn large_blocks_and_those_beyond_the_arena_are_of_the_system() {
        static HEAP: Heap = Heap::new();
        let heap = &HEAP;
        // SAFETY: each block is given back once, with its layout.
        unsafe {
            let large = heap.alloc(layout(LARGEST + 1));
            assert!(!heap.holds(large));
            heap.dealloc(large, layout(LARGEST + 1));
            let blocks: Vec<_> = (0..ARENA / LARGEST + 3).map(|_| heap.alloc(layout(LARGEST))).collect();
            assert_eq!(blocks.iter().filter(|b| !heap.holds(**b)).count(), 3);
            for block in blocks {
                heap.dealloc(block, layout(LARGEST));
            }
        }
    }

    #[test]
    fn growing_keeps_the_content_through_all_kinds_of_blocks() {
        static HEAP: Heap = Heap::new();
        let heap = &HEAP;
        // SAFETY: the block has the size that was asked for last.
        unsafe {
            let mut size = 1;
            let mut block = heap.alloc(layout(size));
            block.write(7);
            for next in [16, 17, 900, 1024, 1025, 9000, 100, 3] {
                block = heap.realloc(block, layout(size), next);
                size = next;
                assert_eq!(block.read(), 7);
            }
            heap.dealloc(block, layout(size));
        }
    }

    #[test]
    fn threads_get_blocks_of_their_own() {
        static HEAP: Heap = Heap::new();
        let work = |mark: u8| {
            for round in 0..if cfg!(miri) { 100 } else { 20_000usize } {
                let size = 1 + round % 1500;
                // SAFETY: the block has `size` bytes, and is given back with its layout.
                unsafe {
                    let block = HEAP.alloc(layout(size));
                    block.write_bytes(mark, size);
                    assert!((0..size).all(|at| block.add(at).read() == mark));
                    HEAP.dealloc(block, layout(size));
                }
            }
        };
        std::thread::scope(|scope| {
            for mark in 1..=4 {
                scope.spawn(move || work(mark));
            }
        });
    }
}
