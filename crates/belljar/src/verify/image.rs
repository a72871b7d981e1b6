//! A plugin's bytes in one sealed file in memory: what was hashed is what will
//! be run, whatever happens to the plugin's directory meanwhile.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use sha2::{Digest as _, Sha256};

use crate::sys::look;

/// The bytes of a plugin's files, one after another, sealed against change.
#[derive(Debug)]
pub struct Image {
    file: OwnedFd,
    length: u64,
}

impl Image {
    /// An image of a few bytes.
    pub(crate) fn of(bytes: &[u8]) -> io::Result<Self> {
        Self::with(None, bytes)
    }

    /// The same bytes once more.
    pub(crate) fn share(&self) -> io::Result<Self> {
        Ok(Self {
            file: self.file.try_clone()?,
            length: self.length,
        })
    }

    /// How many bytes it holds.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Its bytes, or none, with more behind them.
    pub(crate) fn with(image: Option<&Self>, more: &[u8]) -> io::Result<Self> {
        let file = look::memory_file("belljar-image")?;
        let length = image.map_or(0, Self::length);
        let mut copied = 0;
        while let Some(image) = image.filter(|_| copied < length) {
            let piece = image.part(copied, 256 * 1024)?;
            if piece.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            look::write_all(file.as_fd(), &piece)?;
            copied += piece.len() as u64;
        }
        look::write_all(file.as_fd(), more)?;
        look::seal(file.as_fd())?;
        Ok(Self {
            file,
            length: length + more.len() as u64,
        })
    }

    /// A part of it.
    pub(crate) fn part(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        look::read_at(self.file.as_fd(), offset, length)
    }
}

impl AsFd for Image {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl From<Image> for OwnedFd {
    fn from(image: Image) -> Self {
        image.file
    }
}

/// An image while it is written.
pub(crate) struct Writer {
    file: OwnedFd,
    length: u64,
    hash: Sha256,
    buffer: Vec<u8>,
}

/// Why a file was not added.
#[derive(Debug)]
pub(crate) enum AddError {
    /// It could not be read.
    Read(io::Error),
    /// It could not be kept.
    Write(io::Error),
    /// The image would grow beyond its bound.
    Full,
}

impl Writer {
    /// An empty image.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            file: look::memory_file("belljar-image")?,
            length: 0,
            hash: Sha256::new(),
            buffer: vec![0; 256 * 1024],
        })
    }

    /// How many bytes it holds by now.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Appends what is left to read of a file: its offset and length.
    pub(crate) fn add(&mut self, file: BorrowedFd<'_>, bound: u64) -> Result<(u64, u64), AddError> {
        let offset = self.length;
        loop {
            let read = look::read_next(file, &mut self.buffer).map_err(AddError::Read)?;
            if read == 0 {
                return Ok((offset, self.length - offset));
            }
            if self.length + read as u64 > bound {
                return Err(AddError::Full);
            }
            let bytes = &self.buffer[..read];
            self.hash.update(bytes);
            look::write_all(self.file.as_fd(), bytes).map_err(AddError::Write)?;
            self.length += read as u64;
        }
    }

    /// Seals it: the image and its SHA-256 in hexadecimal.
    pub(crate) fn finish(self) -> io::Result<(Image, String)> {
        use std::fmt::Write as _;
        look::seal(self.file.as_fd())?;
        let mut digest = String::with_capacity(64);
        for byte in self.hash.finalize() {
            let _ = write!(digest, "{byte:02x}");
        }
        Ok((
            Image {
                file: self.file,
                length: self.length,
            },
            digest,
        ))
    }
}
