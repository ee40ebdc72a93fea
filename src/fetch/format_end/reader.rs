//! Positioned reads of a file, bounded by the length of the body. The main type is [`FileReader`].

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;

/// Size of the pieces that are searched for zeros, in bytes.
const PIECE_BYTES: usize = 64 * 1024;

/// Reads the first `size_bytes` of a file. Space may be reserved behind them.
#[derive(Debug, Clone, Copy)]
pub struct FileReader<'a> {
    file: &'a File,
    pub size_bytes: u64,
}

impl<'a> FileReader<'a> {
    pub fn new(file: &'a File, size_bytes: u64) -> Self {
        Self { file, size_bytes }
    }

    /// Reads `count` bytes at `offset`, and fewer only at the end.
    pub fn read_up_to(&self, offset: u64, count: usize) -> io::Result<Vec<u8>> {
        let left_bytes = self.size_bytes.saturating_sub(offset);
        let mut bytes = vec![0; usize::try_from(left_bytes).unwrap_or(count).min(count)];
        self.file.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }

    /// Reads exactly `N` bytes at `offset`, or returns `None` if the end comes before.
    pub fn read_array<const N: usize>(&self, offset: u64) -> io::Result<Option<[u8; N]>> {
        Ok(self.read_up_to(offset, N)?.try_into().ok())
    }

    /// Returns the offset behind the last byte before `end` that is not zero.
    pub fn trim_zeros(&self, mut end: u64) -> io::Result<u64> {
        while end > 0 {
            let start = end.saturating_sub(PIECE_BYTES as u64);
            let piece = self.read_up_to(start, usize::try_from(end - start).unwrap_or(0))?;
            if let Some(last) = piece.iter().rposition(|byte| *byte != 0) {
                return Ok(start + last as u64 + 1);
            }
            end = start;
        }
        Ok(0)
    }

    /// Returns a sequential reader of the bytes from `offset` on.
    pub fn sequential(self, offset: u64) -> SequentialReader<'a> {
        SequentialReader {
            reader: self,
            offset,
        }
    }
}

/// Sequential reader of a file.
pub struct SequentialReader<'a> {
    reader: FileReader<'a>,
    offset: u64,
}

impl Read for SequentialReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left_bytes = self.reader.size_bytes.saturating_sub(self.offset);
        let count = usize::try_from(left_bytes)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let read_bytes = self
            .reader
            .file
            .read_at(&mut buffer[..count], self.offset)?;
        self.offset += read_bytes as u64;
        Ok(read_bytes)
    }
}
