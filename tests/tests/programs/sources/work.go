// What ordinary Go programs do. Each part prints one line that a test reads.
package main

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	var group sync.WaitGroup
	sums := make(chan int, 100)
	for n := 0; n < 100; n++ {
		group.Add(1)
		go func(n int) {
			defer group.Done()
			sums <- n * n
			time.Sleep(time.Millisecond)
		}(n)
	}
	group.Wait()
	close(sums)
	total := 0
	for n := range sums {
		total += n
	}
	fmt.Println("goroutines:", total)
	runtime.GC()

	command := exec.Command("/bin/cat")
	command.Stdin = strings.NewReader("through cat")
	out, err := command.Output()
	must(err)
	fmt.Println("exec:", string(out))

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	go func() {
		connection, err := listener.Accept()
		must(err)
		line, err := bufio.NewReader(connection).ReadString('\n')
		must(err)
		fmt.Fprint(connection, strings.ToUpper(line))
		connection.Close()
	}()
	connection, err := net.Dial("tcp", listener.Addr().String())
	must(err)
	must(connection.SetDeadline(time.Now().Add(time.Minute)))
	fmt.Fprintln(connection, "over loopback")
	body, err := io.ReadAll(connection)
	must(err)
	fmt.Println("tcp:", strings.TrimSpace(string(body)))

	folder, err := os.MkdirTemp("", "go")
	must(err)
	must(os.WriteFile(filepath.Join(folder, "file"), []byte(strings.Repeat("x", 100000)), 0o600))
	must(os.Rename(filepath.Join(folder, "file"), filepath.Join(folder, "other")))
	info, err := os.Stat(filepath.Join(folder, "other"))
	must(err)
	fmt.Println("file:", info.Size())
	must(os.RemoveAll(folder))

	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR1)
	must(syscall.Kill(os.Getpid(), syscall.SIGUSR1))
	fmt.Println("signal:", <-signals)
	fmt.Printf("sha256: %x\n", sha256.Sum256([]byte("belljar")))
	interfaces, err := net.Interfaces()
	must(err)
	fmt.Println("interfaces:", interfaces[0].Name)
	_, err = net.LookupHost("example.com")
	fmt.Println("lookup:", err != nil)
}
