//! Read buffers of one thread, which are used again once their bytes are sent.
//!
//! A new buffer costs its allocation and zeros. A buffer for each reader would stay allocated while
//! a client does not read. The main type is [`ReadBuffers`].

use std::cell::RefCell;

use bytes::{Bytes, BytesMut};

/// Smallest read whose buffer is kept, in bytes. Smaller ones cost little.
const MIN_KEPT_BYTES: usize = 8 * 1024;

/// Maximum number of buffers that a thread keeps. With chunks of 256 KiB they take 2 MiB.
const MAX_KEPT: usize = 8;

thread_local! {
    static BUFFERS: RefCell<ReadBuffers> = RefCell::default();
}

/// The buffers that a thread has filled last. Each one may still be in use.
#[derive(Debug, Default)]
struct ReadBuffers {
    /// The latest one last.
    lent: Vec<Bytes>,
}

/// Returns the bytes that `read` writes to a buffer of `size_bytes`. `read` returns their number,
/// or `None` if there are none.
pub fn fill(size_bytes: usize, read: impl FnOnce(&mut [u8]) -> Option<usize>) -> Option<Bytes> {
    if size_bytes < MIN_KEPT_BYTES {
        let mut buffer = vec![0; size_bytes];
        let count = read(&mut buffer)?;
        buffer.truncate(count);
        return Some(buffer.into());
    }
    BUFFERS.with_borrow_mut(|buffers| buffers.fill(size_bytes, read))
}

impl ReadBuffers {
    fn fill(
        &mut self,
        size_bytes: usize,
        read: impl FnOnce(&mut [u8]) -> Option<usize>,
    ) -> Option<Bytes> {
        let mut buffer = self.take(size_bytes);
        let count = read(&mut buffer[..size_bytes]);
        let whole = buffer.freeze();
        let filled = count.map(|count| whole.slice(..count));
        if self.lent.len() == MAX_KEPT {
            self.lent.remove(0);
        }
        self.lent.push(whole);
        filled
    }

    /// Returns a buffer of at least `size_bytes`, and less than twice as many. A reader that stays
    /// slow must not keep a much larger one.
    fn take(&mut self, size_bytes: usize) -> BytesMut {
        let fits = |buffer: &Bytes| (size_bytes..2 * size_bytes).contains(&buffer.len());
        let unused = |buffer: &Bytes| buffer.is_unique() && fits(buffer);
        let found = self.lent.iter().rposition(unused);
        let reused = found.and_then(|index| self.lent.remove(index).try_into_mut().ok());
        reused.unwrap_or_else(|| BytesMut::zeroed(size_bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: usize = 64 * 1024;

    fn fill_with(buffers: &mut ReadBuffers, size_bytes: usize, value: u8) -> Bytes {
        let read = |buffer: &mut [u8]| {
            buffer.fill(value);
            Some(buffer.len())
        };
        buffers.fill(size_bytes, read).expect("bytes were read")
    }

    #[test]
    fn sent_buffer_is_filled_again() {
        let mut buffers = ReadBuffers::default();
        let first = fill_with(&mut buffers, SIZE, 1);
        let address = first.as_ptr();
        drop(first);
        let second = fill_with(&mut buffers, SIZE - 1, 2);
        assert_eq!(second.as_ptr(), address);
        assert_eq!(
            (second.len(), second[0], buffers.lent.len()),
            (SIZE - 1, 2, 1)
        );
    }

    #[test]
    fn buffer_in_use_is_not_overwritten() {
        let mut buffers = ReadBuffers::default();
        let first = fill_with(&mut buffers, SIZE, 1);
        let part = first.slice(..1);
        drop(first);
        let second = fill_with(&mut buffers, SIZE, 2);
        assert_eq!((part[0], second[0]), (1, 2));
        for _ in 0..2 * MAX_KEPT {
            std::mem::forget(fill_with(&mut buffers, SIZE, 3));
        }
        assert_eq!(buffers.lent.len(), MAX_KEPT);
        assert_eq!((part[0], second[0]), (1, 2));
    }

    #[test]
    fn small_read_takes_no_large_buffer() {
        let mut buffers = ReadBuffers::default();
        drop(fill_with(&mut buffers, SIZE, 1));
        let small = fill_with(&mut buffers, SIZE / 2, 2);
        assert_eq!(buffers.lent[1].len(), SIZE / 2);
        assert_eq!(small.len(), SIZE / 2);
    }

    #[test]
    fn failed_read_keeps_its_buffer() {
        let mut buffers = ReadBuffers::default();
        assert_eq!(buffers.fill(SIZE, |_| None), None);
        assert_eq!(buffers.lent.len(), 1);
        assert_eq!(fill(SIZE, |_| Some(3)).map(|bytes| bytes.len()), Some(3));
        assert_eq!(fill(10, |_| None), None);
    }
}
