//! What the kernel leaves on a new program's stack: a count, the arguments, a
//! null, the variables, a null; the System V ABI, "Process Initialization".

use core::ffi::CStr;

/// The top of the stack as it was when the program began.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Stack(*const usize);

impl Stack {
    /// Takes the stack pointer of a program that begins.
    ///
    /// # Safety
    /// It is that, and nothing has been written there since.
    #[must_use]
    pub const unsafe fn new(top: *const usize) -> Self {
        Self(top)
    }

    /// The arguments, the program's own name first.
    pub(crate) fn arguments(&self) -> impl Iterator<Item = &'static CStr> {
        Strings(self.word(1))
    }

    /// The variables, as `NAME=value`.
    pub(crate) fn variables(&self) -> impl Iterator<Item = &'static CStr> {
        let count = Strings(self.word(1)).count();
        Strings(self.word(1 + count + 1))
    }

    fn word(&self, index: usize) -> *const *const i8 {
        // SAFETY: callers stay between the count and the null behind the variables.
        unsafe { self.0.add(index) }.cast()
    }
}

/// Strings up to a null.
struct Strings(*const *const i8);

impl Iterator for Strings {
    type Item = &'static CStr;

    fn next(&mut self) -> Option<&'static CStr> {
        // SAFETY: not behind the null, at which this stays.
        let string = unsafe { self.0.read() };
        if string.is_null() {
            return None;
        }
        // SAFETY: the null is not reached yet, so there is one more.
        self.0 = unsafe { self.0.add(1) };
        // SAFETY: the kernel ends each string with a NUL, and nothing changes them.
        Some(unsafe { CStr::from_ptr(string.cast()) })
    }
}
