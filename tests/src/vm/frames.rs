//! What the machine tells on its second serial port: a line before each
//! command and one after it, followed by what the command wrote, whose lengths
//! the line gives. Each line begins with a word that was drawn for this boot
//! and that no command is told, so what a command writes is never taken for one.

use super::{VmEnd, VmResult};

/// One thing told.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// A command is about to be run.
    Begin(usize),
    /// It has ended.
    End(usize, VmResult),
}

/// Takes frames out of what has come so far.
#[derive(Debug)]
pub(super) struct Frames {
    nonce: String,
    come: Vec<u8>,
}

impl Frames {
    pub(super) fn new(nonce: String) -> Self {
        let come = Vec::new();
        Self { nonce, come }
    }

    pub(super) fn add(&mut self, bytes: &[u8]) {
        self.come.extend_from_slice(bytes);
    }

    /// The next frame, when all of it is there. What a command that is root in
    /// the machine wrote to the port itself stands between frames, and is left out.
    pub(super) fn next(&mut self) -> Option<Frame> {
        loop {
            let nonce = self.nonce.as_bytes();
            let Some(start) = self
                .come
                .windows(nonce.len())
                .position(|part| part == nonce)
            else {
                let junk = self.come.len().saturating_sub(nonce.len() - 1);
                self.come.drain(..junk);
                return None;
            };
            let rest = &self.come[start..];
            let line = rest.split(|byte| *byte == b'\n').next()?;
            if line.len() == rest.len() {
                return None;
            }
            let body = &rest[line.len() + 1..];
            let line = String::from_utf8_lossy(&line[nonce.len()..]).into_owned();
            let Some((frame, length)) = read(&line, body) else {
                // Not a line of the machine's own after all.
                self.come.drain(..=start);
                continue;
            };
            let frame = frame?;
            let taken = self.come.len() - body.len() + length;
            self.come.drain(..taken);
            return Some(frame);
        }
    }
}

/// Reads one line after its nonce, and the length of what belongs to it. The
/// frame is missing where some of that has not come yet.
fn read(line: &str, body: &[u8]) -> Option<(Option<Frame>, usize)> {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words[..] {
        ["begin", number] => Some((Some(Frame::Begin(number.parse().ok()?)), 0)),
        ["end", number, how, stdout, stderr] => {
            let number = number.parse().ok()?;
            let end = match how {
                "late" => VmEnd::OutOfTime,
                status => VmEnd::Exited(status.parse().ok()?),
            };
            let stdout: usize = stdout.parse().ok()?;
            let length = stdout.checked_add(stderr.parse().ok()?)?;
            let frame = body.get(..length).map(|written| {
                let (stdout, stderr) = written.split_at(stdout);
                let result = VmResult {
                    end,
                    stdout: stdout.to_vec(),
                    stderr: stderr.to_vec(),
                };
                Frame::End(number, result)
            });
            Some((frame, length))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(number: usize, status: u8, stdout: &[u8], stderr: &[u8]) -> Frame {
        let result = VmResult {
            end: VmEnd::Exited(status),
            stdout: stdout.to_vec(),
            stderr: stderr.to_vec(),
        };
        Frame::End(number, result)
    }

    fn all(frames: &mut Frames) -> Vec<Frame> {
        std::iter::from_fn(|| frames.next()).collect()
    }

    #[test]
    fn frames_come_whole_however_they_are_cut() {
        let told = b"n0nce begin 0\nn0nce end 0 7 3 2\nab\nn0n0nce begin 1\nn0nce end 1 late 0 0\n";
        let late = VmResult {
            end: VmEnd::OutOfTime,
            stdout: Vec::new(),
            stderr: Vec::new(),
        };
        let want = [
            Frame::Begin(0),
            end(0, 7, b"ab\n", b"n0"),
            Frame::Begin(1),
            Frame::End(1, late),
        ];
        for size in 1..told.len() {
            let mut frames = Frames::new("n0nce".to_owned());
            let mut come = Vec::new();
            for part in told.chunks(size) {
                frames.add(part);
                come.extend(all(&mut frames));
            }
            assert_eq!(come, want, "in parts of {size}");
        }
    }

    #[test]
    fn what_was_written_is_never_a_frame() {
        let mut frames = Frames::new("n0nce".to_owned());
        frames.add(b"junk\nn0nce end 0 0 29 0\nn0nce end 0 0 0 0\nn0nce begin");
        assert_eq!(
            all(&mut frames),
            [end(0, 0, b"n0nce end 0 0 0 0\nn0nce begin", b"")]
        );
    }

    #[test]
    fn junk_on_the_port_is_passed_over() {
        let mut frames = Frames::new("n0nce".to_owned());
        frames.add(b"\xff\n\n begin 3\nn0nce what\nn0nce end 1\nn0nn0nce begin 2\n");
        assert_eq!(all(&mut frames), [Frame::Begin(2)]);
    }
}
