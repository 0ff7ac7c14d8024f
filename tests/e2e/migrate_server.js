#!/usr/bin/env node
// migrate_server.c for Node: `cluster` with one listener of the master's, whose connections the
// workers get; or --exclusive, a listener of each worker's own.
//
// usage: migrate_server.js [--gen ID] [--workers N] [--family 4|6] [--exclusive] PORT
// Prints "ready PID" when all workers listen; ends by SIGTERM when what is accepted is finished.
// Node before 23.1 can't ask for SO_REUSEPORT: generations that overlap need it set from outside.
'use strict';
const cluster = require('cluster');
const net = require('net');

const HEAD = 27;
const opt = { gen: '-', workers: 2, family: 4, exclusive: false };
const args = process.argv.slice(2);
while (args.length && args[0].startsWith('--')) {
	const name = args.shift().slice(2);
	opt[name] = name === 'exclusive' ? true : args.shift();
}
opt.port = Number(args[0]);

function answer(socket, request) {
	const body = Buffer.from(request.subarray(HEAD));
	for (let i = 0; i < body.length; i++)
		body[i] ^= 0x5a;
	const head = request.toString('latin1', 5, 21) + ' ' + opt.gen.padEnd(15) + ' ' +
		String(process.pid).padStart(10, '0') + '\n';
	socket.end(Buffer.concat([Buffer.from(head, 'latin1'), body]));
}

function serve(socket) {
	let got = Buffer.alloc(0);
	socket.setTimeout(50000, () => socket.destroy());
	socket.on('error', () => {});
	socket.on('data', (part) => {
		got = Buffer.concat([got, part]);
		if (got.length >= HEAD &&
		    got.length >= HEAD + parseInt(got.toString('latin1', 22, 26), 16))
			answer(socket, got);
	});
}

function worker() {
	const server = net.createServer(serve);
	server.on('error', (e) => {
		console.error(`migrate_server.js: ${e.message}`);
		process.exit(1);
	});
	process.on('message', () => server.close(() => process.exit(0)));
	server.listen({
		port: opt.port,
		host: Number(opt.family) === 6 ? '::1' : '127.0.0.1',
		backlog: 4096,
		exclusive: opt.exclusive,
	}, () => process.send('listening'));
}

function master() {
	let listening = 0, left = Number(opt.workers), ending = false;
	for (let i = left; i > 0; i--)
		cluster.fork();
	cluster.on('message', () => {
		if (++listening === Number(opt.workers))
			console.log(`ready ${process.pid}`);
	});
	cluster.on('exit', () => {
		if (!ending)
			process.exit(1);
		if (--left === 0)
			process.exit(0);
	});
	process.on('SIGTERM', () => {
		ending = true;
		for (const w of Object.values(cluster.workers))
			w.send('end');
	});
}

(cluster.isPrimary ? master : worker)();
