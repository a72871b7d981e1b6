//! What ordinary Rust programs do. Each part prints one line that a test reads.
use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::net::UnixStream,
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

fn main() {
    let (sender, receiver) = mpsc::channel();
    let threads: Vec<_> = (0..8u32)
        .map(|n| {
            let sender = sender.clone();
            thread::spawn(move || sender.send(n * n).unwrap())
        })
        .collect();
    drop(sender);
    println!("threads: {}", receiver.iter().sum::<u32>());
    threads.into_iter().for_each(|thread| thread.join().unwrap());

    let mut cat = Command::new("/bin/cat")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    cat.stdin.take().unwrap().write_all(b"through cat").unwrap();
    let out = cat.wait_with_output().unwrap();
    println!("command: {}", String::from_utf8(out.stdout).unwrap());

    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    let client = thread::spawn(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        stream.write_all(b"over loopback\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    });
    let (mut stream, _) = server.accept().unwrap();
    let mut line = String::new();
    BufReader::new(&stream).read_line(&mut line).unwrap();
    stream.write_all(line.trim().to_uppercase().as_bytes()).unwrap();
    drop(stream);
    println!("tcp: {}", client.join().unwrap());

    let (mut one, mut two) = UnixStream::pair().unwrap();
    one.write_all(b"pair").unwrap();
    let mut bytes = [0; 4];
    two.read_exact(&mut bytes).unwrap();
    println!("unix: {}", String::from_utf8_lossy(&bytes));

    let folder = std::env::temp_dir().join("work-rs");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("file"), vec![b'x'; 100_000]).unwrap();
    println!("copy: {}", fs::copy(folder.join("file"), folder.join("copy")).unwrap());
    println!("entries: {}", fs::read_dir(&folder).unwrap().count());
    fs::remove_dir_all(&folder).unwrap();
    let caught = std::panic::catch_unwind(|| panic!("on purpose"));
    println!("panic: {}", caught.is_err());
}
