/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * migrate_msg.h - the echo protocol of migrate_load and the migrate_server.* programs.
 *
 * Request:  "KCM1 " id (16 hex digits) " " length of the body (4 hex digits) "\n", body
 * Response: id (16 hex digits) " " generation (15, padded) " " pid (10 digits) "\n", body with each
 *           byte XOR 0x5a; then the server closes.
 *
 * The body follows from the id, so that every byte of both can be checked, and no two are alike.
 */
#ifndef MIGRATE_MSG_H
#define MIGRATE_MSG_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MSG_MAGIC    "KCM1 "
#define MSG_HEAD     27 /* of a request */
#define MSG_BODY_MAX 1024
#define MSG_ANSWER   44 /* head of a response */
#define MSG_GEN	     15
#define MSG_XOR	     0x5a
#define MSG_SIZE_MAX (MSG_ANSWER + MSG_BODY_MAX)

static inline uint64_t msg_mix(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15ULL;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
	return z ^ z >> 31;
}

/* Return: bytes written to @body. */
static inline uint32_t msg_body(uint64_t id, uint8_t *body)
{
	uint64_t state = id, word = 0;
	uint32_t len = msg_mix(&state) % MSG_BODY_MAX;

	for (uint32_t i = 0; i < len; i++) {
		if (i % 8 == 0)
			word = msg_mix(&state);
		body[i] = word >> i % 8 * 8;
	}
	return len;
}

/* @buf has MSG_SIZE_MAX bytes. Return: length of the request. */
static inline uint32_t msg_request(uint64_t id, uint8_t *buf)
{
	uint32_t len = msg_body(id, buf + MSG_HEAD);
	char head[MSG_HEAD + 1];

	snprintf(head, sizeof(head), MSG_MAGIC "%016llx %04x\n", (unsigned long long)id, len);
	memcpy(buf, head, MSG_HEAD);
	return MSG_HEAD + len;
}

/* Return: length of the whole request that starts with MSG_HEAD bytes at @head; 0 = no request. */
static inline uint32_t msg_length(const uint8_t *head, uint64_t *id)
{
	char text[MSG_HEAD + 1];
	unsigned long long i;
	unsigned int len;

	memcpy(text, head, MSG_HEAD);
	text[MSG_HEAD] = 0;
	if (sscanf(text, MSG_MAGIC "%16llx %4x\n", &i, &len) != 2 || len >= MSG_BODY_MAX)
		return 0;
	*id = i;
	return MSG_HEAD + len;
}

/* @buf has MSG_SIZE_MAX bytes. Return: length of the response to @request. */
static inline uint32_t msg_response(const uint8_t *request, uint32_t len, const char *gen, int pid,
				    uint8_t *buf)
{
	char head[MSG_ANSWER + 1];
	uint32_t body = len - MSG_HEAD;

	snprintf(head, sizeof(head), "%.16s %-15.15s %010d\n", (const char *)request + 5, gen, pid);
	memcpy(buf, head, MSG_ANSWER);
	for (uint32_t i = 0; i < body; i++)
		buf[MSG_ANSWER + i] = request[MSG_HEAD + i] ^ MSG_XOR;
	return MSG_ANSWER + body;
}

#endif
