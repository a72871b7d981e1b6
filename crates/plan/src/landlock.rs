//! What Landlock holds of a jar, by name: the kernel's version of it decides
//! which rights can be held at all, and a plan names those that can't.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rule::words;

words! {
    /// Something that Landlock can deny; landlock(7). The kernel's own names.
    Right {
        /// Starting a file as a program.
        Execute = "execute",
        /// Opening a file for writing.
        WriteFile = "write_file",
        /// Opening a file for reading.
        ReadFile = "read_file",
        /// Listing a directory.
        ReadDir = "read_dir",
        /// Removing or renaming a directory.
        RemoveDir = "remove_dir",
        /// Removing or renaming a file.
        RemoveFile = "remove_file",
        /// Making a character device.
        MakeChar = "make_char",
        /// Making a directory.
        MakeDir = "make_dir",
        /// Making a regular file.
        MakeReg = "make_reg",
        /// Making a unix socket.
        MakeSock = "make_sock",
        /// Making a named pipe.
        MakeFifo = "make_fifo",
        /// Making a block device.
        MakeBlock = "make_block",
        /// Making a symbolic link.
        MakeSym = "make_sym",
        /// Linking or renaming a file to another directory.
        Refer = "refer",
        /// Shortening a file.
        Truncate = "truncate",
        /// Commands to a device.
        IoctlDev = "ioctl_dev",
        /// Listening on a TCP port.
        BindTcp = "bind_tcp",
        /// Connecting to a TCP port.
        ConnectTcp = "connect_tcp",
        /// Connecting to an abstract unix socket that was made outside.
        AbstractUnixSocket = "abstract_unix_socket",
        /// Signals to a task outside.
        Signal = "signal",
    }
}

/// The domain that the guest is put in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Landlock {
    /// The version of the kernel's interface.
    pub abi: u32,
    /// What is denied but where a step `allow_path` allows it.
    pub handled: Vec<Right>,
    /// What would be, and this version doesn't know.
    pub missing: Vec<Right>,
}

impl Landlock {
    /// Everything that was wanted, in the order of [`Right`].
    #[must_use]
    pub fn requested(&self) -> Vec<Right> {
        let mut all = [&self.handled[..], &self.missing[..]].concat();
        all.sort_unstable();
        all
    }
}
