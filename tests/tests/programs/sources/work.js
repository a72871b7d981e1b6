// What ordinary Node programs do. Each part prints one line that a test reads.
'use strict';
const assert = require('assert');
const { Worker, isMainThread, parentPort, workerData } = require('worker_threads');
const child_process = require('child_process');
const cluster = require('cluster');
const fs = require('fs');
const http = require('http');
const net = require('net');
const os = require('os');
const path = require('path');

function ended(child) {
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('exit', (code, signal) => resolve(signal || code));
  });
}

async function threads() {
  const shared = new SharedArrayBuffer(4);
  const workers = [1, 2, 3, 4].map(() => new Worker(__filename, { workerData: { shared } }));
  const answers = await Promise.all(workers.map((worker) => new Promise((resolve, reject) => {
    worker.on('message', resolve);
    worker.on('error', reject);
    worker.postMessage(20);
  })));
  console.log('workers:', answers.join(' '));
  console.log('shared:', new Int32Array(shared)[0]);
}

async function children() {
  const cat = child_process.spawn('/bin/cat', [], { stdio: ['pipe', 'pipe', 'inherit'] });
  cat.stdin.end('through cat');
  let text = '';
  for await (const part of cat.stdout) text += part;
  console.log('spawn:', text);
  console.log('exec:', (await require('util').promisify(child_process.exec)('echo a | tr a b')).stdout.trim());
  console.log('spawnSync:', child_process.spawnSync('/bin/echo', ['sync']).stdout.toString().trim());
  const fork = child_process.fork(__filename, ['forked']);
  const answer = new Promise((resolve) => fork.on('message', resolve));
  fork.send({ number: 6 });
  console.log('fork:', (await answer).number);
  await ended(fork);
  const sleep = child_process.spawn('/bin/sleep', ['100']);
  sleep.kill('SIGTERM');
  console.log('kill:', await ended(sleep));
}

async function group() {
  cluster.setupPrimary({ exec: __filename, args: ['clustered'] });
  const workers = [cluster.fork(), cluster.fork()];
  const [address] = await Promise.all(workers.map((worker) => new Promise((resolve) => {
    worker.on('listening', resolve);
  })));
  const reply = await (await fetch(`http://127.0.0.1:${address.port}/`)).text();
  console.log('cluster:', reply);
  await Promise.all(workers.map((worker) => { worker.disconnect(); return ended(worker.process); }));
}

async function files() {
  const folder = await fs.promises.mkdtemp(path.join(os.tmpdir(), 'node-'));
  const file = path.join(folder, 'file');
  const changed = new Promise((resolve) => {
    const watcher = fs.watch(folder, (event, name) => { watcher.close(); resolve(name); });
  });
  await fs.promises.writeFile(file, 'x'.repeat(100000));
  console.log('watch:', await changed);
  await fs.promises.copyFile(file, file + '2');
  await fs.promises.rename(file + '2', file + '3');
  await fs.promises.symlink('file', path.join(folder, 'link'));
  console.log('files:', (await fs.promises.readdir(folder)).join(' '), fs.statSync(file + '3').size);
  const zipped = require('zlib').gzipSync(fs.readFileSync(file));
  console.log('zlib:', require('zlib').gunzipSync(zipped).length);
  console.log('sha256:', require('crypto').createHash('sha256').update('belljar').digest('hex').slice(0, 8));
  const key = await require('util').promisify(require('crypto').scrypt)('word', 'salt', 16);
  console.log('scrypt:', key.length);
  await fs.promises.rm(folder, { recursive: true });
}

async function network() {
  const server = http.createServer((request, response) => response.end(request.url.toUpperCase()));
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  console.log('http:', await (await fetch(`http://127.0.0.1:${server.address().port}/path`)).text());
  server.closeAllConnections();
  server.close();
  const at = path.join(os.tmpdir(), 'node-socket');
  const local = net.createServer((socket) => socket.end('unix'));
  await new Promise((resolve) => local.listen(at, resolve));
  let text = '';
  for await (const part of net.connect(at)) text += part;
  console.log('unix socket:', text);
  local.close();
  const udp = require('dgram').createSocket('udp4');
  const got = new Promise((resolve) => udp.on('message', (message) => resolve(message.toString())));
  await new Promise((resolve) => udp.bind(0, '127.0.0.1', resolve));
  udp.send('datagram', udp.address().port, '127.0.0.1');
  console.log('udp:', await got);
  udp.close();
  console.log('interfaces:', Object.keys(os.networkInterfaces()).includes('lo'));
  console.log('lookup:', (await require('dns').promises.lookup('127.0.0.1')).address);
}

function compute() {
  // Long enough that V8 compiles it.
  let sum = 0;
  for (let n = 0; n < 5e6; n++) sum = (sum + n * n) % 1000003;
  console.log('compute:', sum);
  const bytes = Buffer.from('AGFzbQEAAAABBwFgAn9/AX8DAgEABwcBA2FkZAAACgkBBwAgACABags=', 'base64');
  const instance = new WebAssembly.Instance(new WebAssembly.Module(bytes));
  console.log('wasm:', instance.exports.add(40, 2));
}

async function main() {
  const parts = { threads, children, group, files, network, compute };
  for (const part of process.argv.slice(2)) await parts[part]();
}

if (!isMainThread) {
  parentPort.once('message', (number) => {
    Atomics.add(new Int32Array(workerData.shared), 0, number);
    parentPort.postMessage(number * 2);
  });
} else if (process.argv[2] === 'forked') {
  process.once('message', ({ number }) => {
    process.send({ number: number * 7 });
    process.disconnect();
  });
} else if (process.argv[2] === 'clustered') {
  http.createServer((request, response) => {
    response.setHeader('connection', 'close');
    response.end('from a worker');
  }).listen(0, '127.0.0.1');
} else {
  main().catch((error) => { console.error(error); process.exit(1); });
}
