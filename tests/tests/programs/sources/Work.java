// What ordinary Java programs do. Each part prints one line that a test reads.
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.ByteBuffer;
import java.nio.MappedByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.LongStream;

public class Work {
    public static void main(String[] parts) throws Exception {
        for (String part : parts) {
            switch (part) {
                case "threads" -> threads();
                case "children" -> children();
                case "sockets" -> sockets();
                case "files" -> files();
                case "compute" -> compute();
                default -> throw new IllegalArgumentException(part);
            }
        }
    }

    static void threads() throws Exception {
        ExecutorService pool = Executors.newFixedThreadPool(4);
        List<Future<Integer>> answers = new ArrayList<>();
        for (int n = 0; n < 10; n++) {
            int number = n;
            answers.add(pool.submit(() -> number * number));
        }
        int sum = 0;
        for (Future<Integer> answer : answers) sum += answer.get();
        pool.shutdown();
        System.out.println("threads: " + sum);
        System.out.println("parallel: " + LongStream.range(0, 100000).parallel().sum());
        System.gc();
    }

    static void children() throws Exception {
        Process cat = new ProcessBuilder("/bin/cat").start();
        cat.getOutputStream().write("through cat".getBytes());
        cat.getOutputStream().close();
        System.out.println("child: " + new String(cat.getInputStream().readAllBytes()) + " " + cat.waitFor());
        Process sleep = new ProcessBuilder("/bin/sleep", "100").redirectErrorStream(true).start();
        sleep.destroy();
        System.out.println("destroyed: " + sleep.waitFor());
        System.out.println("handle: " + ProcessHandle.current().info().command().isPresent());
    }

    static void sockets() throws Exception {
        ServerSocketChannel server = ServerSocketChannel.open();
        server.bind(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0));
        server.configureBlocking(false);
        Selector selector = Selector.open();
        server.register(selector, SelectionKey.OP_ACCEPT);
        SocketChannel client = SocketChannel.open(server.getLocalAddress());
        client.write(ByteBuffer.wrap("over loopback".getBytes()));
        client.shutdownOutput();
        selector.select();
        SocketChannel accepted = server.accept();
        ByteBuffer buffer = ByteBuffer.allocateDirect(100);
        while (accepted.read(buffer) >= 0) { }
        buffer.flip();
        byte[] bytes = new byte[buffer.remaining()];
        buffer.get(bytes);
        System.out.println("nio: " + new String(bytes));
        server.close();
    }

    static void files() throws Exception {
        Path path = Files.createTempFile("work", ".bin");
        try (FileChannel channel = FileChannel.open(path, StandardOpenOption.READ, StandardOpenOption.WRITE)) {
            channel.write(ByteBuffer.wrap(new byte[100000]));
            MappedByteBuffer map = channel.map(FileChannel.MapMode.READ_WRITE, 0, 100000);
            map.put(0, (byte) 7);
            map.force();
            ByteBuffer one = ByteBuffer.allocate(1);
            channel.read(one, 0);
            System.out.println("channel: " + one.get(0) + " " + channel.size());
            System.out.println("lock: " + (channel.tryLock() != null));
            Path copy = path.resolveSibling("copy.bin");
            try (FileChannel out = FileChannel.open(copy, StandardOpenOption.CREATE, StandardOpenOption.WRITE)) {
                System.out.println("transfer: " + channel.transferTo(0, channel.size(), out));
            }
            Files.delete(copy);
        }
        Files.delete(path);
    }

    static void compute() {
        // Long enough that it is compiled.
        long sum = 0;
        for (int round = 0; round < 50; round++) {
            for (int n = 0; n < 100000; n++) sum = (sum + (long) n * n) % 1000003;
        }
        System.out.println("compute: " + sum);
    }
}
