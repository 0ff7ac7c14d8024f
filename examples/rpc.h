/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * rpc.h - the protocol of the examples, worker's side.
 *
 * Request and answer are a length (4 bytes, big-endian, of what follows) and text:
 *	ID METHOD [ARGS]   ->   ID ok RESULT   or   ID err WHY
 * Answers come in any order: the ID, chosen by the client, says which is which.
 *	echo BYTES   upper BYTES   sum N N...   sleep MS   pid
 */
#ifndef EXAMPLES_RPC_H
#define EXAMPLES_RPC_H

#include <arpa/inet.h>
#include <ctype.h>

#include "common.h"
#include "kcm.h"

/* Run @method; the result is left in @args or in @num. Return: its start; @ok: did it work? */
static inline const char *rpc_call(const char *method, char *args, size_t *len, char num[64],
				   int *ok)
{
	long long sum = 0, v;
	char *end;

	*ok = 1;
	if (!strcmp(method, "echo"))
		return args;
	if (!strcmp(method, "upper")) {
		for (size_t i = 0; i < *len; i++)
			args[i] = (char)toupper((unsigned char)args[i]);
		return args;
	}
	if (!strcmp(method, "sum")) {
		for (char *p = args; p < args + *len && *ok; p = end) {
			errno = 0;
			v = strtoll(p, &end, 10);
			*ok = end != p && !errno && !__builtin_add_overflow(sum, v, &sum);
		}
		*len = (size_t)snprintf(num, 64, *ok ? "%lld" : "bad arguments", sum);
		return num;
	}
	if (!strcmp(method, "sleep")) {
		v = strtoll(args, NULL, 10);
		usleep((useconds_t)(v < 0 ? 0 : v > 10000 ? 10000 : v) * 1000);
		*len = (size_t)snprintf(num, 64, "slept %lld", v);
		return num;
	}
	if (!strcmp(method, "pid")) {
		*len = (size_t)snprintf(num, 64, "%d c", getpid());
		return num;
	}
	*ok = 0;
	*len = (size_t)snprintf(num, 64, "unknown method");
	return num;
}

/* Answer one message. Return: 0 or what kcm_sendv() returned. */
static inline int rpc_answer(struct kcm_worker *worker, const struct kcm_msg *msg)
{
	size_t len = msg->len - 4, rest = 0;
	char *id = malloc(len + 1), num[64], *method, *args;
	const char *result;
	struct iovec iov[4];
	uint32_t head;
	int ok, err;

	if (!id)
		return -ENOMEM;
	/* The message itself is read-only and has no NUL behind it. */
	memcpy(id, (const char *)msg->data + 4, len);
	id[len] = 0;
	method = strchr(id, ' ');
	if (method)
		*method++ = 0;
	args = method ? strchr(method, ' ') : NULL;
	if (args) {
		*args++ = 0;
		rest = len - (size_t)(args - id);
	}
	result = rpc_call(method ?: "", args ?: id + len, &rest, num, &ok);
	iov[1] = (struct iovec){ id, strlen(id) };
	iov[2] = ok ? (struct iovec){ " ok ", 4 } : (struct iovec){ " err ", 5 };
	iov[3] = (struct iovec){ (void *)result, rest };
	head = htonl((uint32_t)(iov[1].iov_len + iov[2].iov_len + iov[3].iov_len));
	iov[0] = (struct iovec){ &head, sizeof(head) };
	/*
	 * KCM_MORE: answers to one connection may be sent together, at the latest by the next
	 * kcm_recv(). KCM_WAIT: a client that does not read its answers has to wait, not us fail.
	 */
	err = kcm_sendv(worker, msg->conn, iov, 4, KCM_MORE | KCM_WAIT);
	free(id);
	/* The client went away before its answer: nobody's fault. */
	return err == -ENOTCONN || err == -EPIPE || err == -ECONNRESET ? 0 : err;
}

/* Answer a batch and give it back. */
static inline void rpc_batch(struct kcm_worker *worker, const struct kcm_msg *msgs, int n)
{
	for (int i = 0; i < n; i++) {
		int err = msgs[i].event == KCM_MESSAGE ? rpc_answer(worker, &msgs[i]) : 0;

		if (err)
			die(err, "answer");
		if (msgs[i].event != KCM_MESSAGE && msgs[i].event != KCM_CLOSED)
			fprintf(stderr, "connection %llx ended: %s\n",
				(unsigned long long)msgs[i].conn, strerror(msgs[i].error));
	}
	kcm_release(worker, msgs, (unsigned int)n);
}

#endif
