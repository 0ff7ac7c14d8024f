// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* test_frame_text.c - dedicated parsers of text protocols, and WebSocket */
#include "frame_check.h"

static void resp_requests(void **state)
{
	(void)state;
	CHECK("resp", "*1\r\n$4\r\nPING\r\n*2\r\n$3\r\nGET\r\n$1\r\na\r\n", "14 20");
	CHECK("resp", "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$5\r\n\r\n*1\n\r\n", "31");
	CHECK("resp", "*2\r\n$3\r\nGET\r\n$0\r\n\r\n", "19");
	CHECK("resp", "PING\r\nGET a\n\r\n", "6 6 2");
	CHECK("resp", "*0\r\n*-1\r\n", "4 5");
	CHECK("resp", "*1\r\n$100\r\nab", "+12/112");
	CHECK("resp", "*2\r\n$100\r\nab", "+12");
}

static void resp_replies(void **state)
{
	(void)state;
	CHECK("resp", "+OK\r\n-ERR x\r\n:12\r\n$-1\r\n$2\r\nab\r\n", "5 8 5 5 8");
	CHECK("resp", "*2\r\n*2\r\n+a\r\n:1\r\n*1\r\n$1\r\nx\r\n+OK\r\n", "27 5");
	CHECK("resp", "*3\r\n*0\r\n*-1\r\n$-1\r\n_\r\n", "18 3");
}

static void resp3(void **state)
{
	(void)state;
	CHECK("resp", "%2\r\n+a\r\n:1\r\n+b\r\n*1\r\n:2\r\n_\r\n", "24 3");
	CHECK("resp", "~2\r\n#t\r\n#f\r\n", "12");
	CHECK("resp", ">2\r\n+message\r\n,1.5\r\n(123456789012345678901234567890\r\n", "20 33");
	CHECK("resp", "=5\r\ntxt:a\r\n!3\r\nERR\r\n", "11 9");
	/* an attribute belongs to what follows it */
	CHECK("resp", "|1\r\n+ttl\r\n:5\r\n$1\r\na\r\n_\r\n", "21 3");
	CHECK("resp", "*2\r\n|1\r\n+k\r\n+v\r\n:1\r\n:2\r\n+z\r\n", "24 4");
}

static void resp_hostile(void **state)
{
	(void)state;
	CHECK("resp", "*x\r\n", "EPROTO");
	CHECK("resp", "*\r\n", "EPROTO");
	CHECK("resp", "*-2\r\n", "EPROTO");
	CHECK("resp", "$-\r\n", "EPROTO");
	CHECK("resp", "*1\r\nPING\r\n", "EPROTO");
	CHECK("resp", "$?\r\n", "EPROTO");
	CHECK("resp", "*1\n", "EPROTO");
	CHECK("resp", "*1\rx", "EPROTO");
	CHECK("resp", "+OK\n", "EPROTO");
	CHECK("resp", "+\n", "EPROTO");
	CHECK("resp", "*000000000001\r\n", "EPROTO");
	CHECK("resp", "*99999999999\r\n", "EMSGSIZE");
	CHECK("resp", "*2147483648\r\n", "EMSGSIZE");
	CHECK("resp", "%4294967295\r\n", "EMSGSIZE");
	CHECK("resp", "$99999999999\r\n", "EMSGSIZE");
	CHECK("resp max=64", "*2\r\n$50\r\n", "+9");
	CHECK("resp max=64", "*2\r\n$60\r\n", "EMSGSIZE");
	CHECK("resp max=64", "*21\r\n", "EMSGSIZE"); /* 5 + 21 * 3 */
	CHECK("resp max=64", "*19\r\n", "+5");
	CHECK("resp max=1G", "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n", "+28");
}

static void resp_max(void **state)
{
	unsigned char data[80];

	(void)state;
	memset(data, 'a', sizeof(data));
	check_bytes("resp max=64", data, 63, "+63");
	check_bytes("resp max=64", data, 64, "EMSGSIZE");
	data[63] = '\n';
	check_bytes("resp max=64", data, 64, "64");
	memcpy(data, "*2\r\n$45\r\n", 9); /* the second element begins at byte 56 */
	memcpy(data + 56, "$000000000001\r\n", 15);
	check_bytes("resp max=64", data, 71, "EMSGSIZE");
}

static void memcached_commands(void **state)
{
	(void)state;
	CHECK("memcached-text", "get a b c\r\nversion\r\n\r\nquit\n", "11 9 2 5");
	CHECK("memcached-text", "set k 0 0 5\r\nhello\r\nget k\r\n", "20 7");
	CHECK("memcached-text", "set k 0 0 5 noreply\r\nhello\r\n", "28");
	CHECK("memcached-text", "set  k  0  0  5  \r\nhello\r\n", "26");
	CHECK("memcached-text", "cas k 0 0 2 77\r\n\r\n\r\nadd k 0 0 0\n\r\n", "20 14");
	CHECK("memcached-text",
	      "append k 0 0 1\r\na\r\nprepend k 0 0 1\r\nb\r\nreplace k 0 0 1\r\nc\r\n",
	      "19 20 20");
	CHECK("memcached-text", "ms k 2 T30\r\nab\r\nmg k v\r\nmn\r\nms k 1\r\nx\r\n", "16 8 4 11");
	CHECK("memcached-text", "SET k 0 0 5\r\nsets k 0 0 5\r\nse k 0 0 5\r\n", "13 14 12");
	CHECK("memcached-text", "set k 0 0 100\r\nab", "+17/117");
}

static void memcached_replies(void **state)
{
	(void)state;
	CHECK("memcached-text", "VALUE a 0 5\r\nEND\r\n\r\nVALUE b 1 2 77\r\nab\r\nEND\r\n",
	      "20 20 5");
	CHECK("memcached-text", "VA 2 t30\r\nab\r\nEN\r\nHD\r\nVA 0\r\n\r\n", "14 4 4 8");
	CHECK("memcached-text", "STORED\r\nVALUES 1 2 3\r\nVERSION 1.6\r\n", "8 14 13");
}

static void memcached_hostile(void **state)
{
	(void)state;
	CHECK("memcached-text", "set k 0 0\r\n", "EPROTO");
	CHECK("memcached-text", "set\r\n", "EPROTO");
	CHECK("memcached-text", "set k 0 0 \r\n", "EPROTO");
	CHECK("memcached-text", "set k 0 0 -1\r\n", "EPROTO");
	CHECK("memcached-text", "set k 0 0 5x\r\n", "EPROTO");
	CHECK("memcached-text", "set k 0 0 12345678901\r\n", "EPROTO");
	CHECK("memcached-text", "set k 0 0 4294967295\r\n", "EMSGSIZE");
	CHECK("memcached-text", "ms k\r\n", "EPROTO");
	CHECK("memcached-text max=64", "set k 0 0 49\r\n", "EMSGSIZE");
	CHECK("memcached-text max=64", "set k 0 0 48\r\n", "+14/64");
	CHECK("memcached-text max=64",
	      "get 456789012345678901234567890123456789012345678901234567890123", "EMSGSIZE");
	CHECK("memcached-text max=64",
	      "get 45678901234567890123456789012345678901234567890123456789012\n", "64");
}

static void memcached_long_lines(void **state)
{
	unsigned char data[700];
	char expected[64];

	(void)state;
	for (int key = 1; key < 300; key += 7) {
		int n = snprintf((char *)data, sizeof(data), "set %0*d 1 2 3\r\nxyz\r\n", key, 0);

		snprintf(expected, sizeof(expected), "%d", n);
		check_bytes("memcached-text", data, n, expected);
	}
}

static void nats(void **state)
{
	(void)state;
	CHECK("nats", "CONNECT {}\r\nPING\r\nPUB a 5\r\nhello\r\nPUB a r 0\r\n\r\n", "12 6 16 13");
	CHECK("nats", "pub a 1\r\nx\r\nHPUB a 12 14\r\nNATS/1.0\r\n\r\nab\r\n", "12 30");
	CHECK("nats", "MSG s 1 3\r\nabc\r\nHMSG s 1 12 13\r\nNATS/1.0\r\n\r\na\r\n+OK\r\n",
	      "16 31 5");
	CHECK("nats", "SUB a 5\r\nPUBX 9\r\n", "9 8");
	CHECK("nats", "PUB a\t5\r\n", "+9/16");
	CHECK("nats", "PUB a x5\r\n", "EPROTO");
	CHECK("nats", "PUB a 5 \r\n", "EPROTO");
	CHECK("nats", "PUB \r\n", "EPROTO");
	CHECK("nats", "PUB a 12345678901\r\n", "EPROTO");
	CHECK("nats", "PUB a 9999999999\r\n", "EMSGSIZE");
	CHECK("nats max=64", "PUB a 53\r\n", "EMSGSIZE");
	CHECK("nats max=64", "PUB a 52\r\n", "+10/64");
}

static void websocket(void **state)
{
	(void)state;
	CHECK("websocket", "GET / HTTP/1.1\r\nHost: a\r\n\r\n\x81\x81MASKx\x8a\x00", "27 7 2");
	CHECK("websocket", "HTTP/1.1 101 OK\r\n\r\n\x81\x02hi", "19 4");
	CHECK("websocket", "\x81\x02hiHTTP/1.1 400 No\r\n\r\n\x48", "4 19 +1");
	CHECK("websocket", "\x82\x7e\x00\x80", "+4/132");
	CHECK("websocket", "\x82\xfe\x00\x80", "+4/136");
	CHECK("websocket", "\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00", "+10/65546");
	CHECK("websocket", "\x82\xff\x00\x00\x00\x00\x00\x01\x00\x00", "+10/65550");
	CHECK("websocket", "\x82\x7f\x80\x00\x00\x00\x00\x00\x00\x00", "EPROTO");
	CHECK("websocket", "\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff", "EMSGSIZE");
	CHECK("websocket", "\x82\x7f\x00\x00\x00\x00\x01\x00\x00\x00", "EMSGSIZE");
	CHECK("websocket max=64", "\x82\x3e", "+2/64");
	CHECK("websocket max=64", "\x82\x3f", "EMSGSIZE");
	CHECK("websocket max=64",
	      "GET /34567890123456789012345678901234567890123456789012345678901234567890",
	      "EMSGSIZE");
}

static void http_requests(void **state)
{
	(void)state;
	CHECK("http1", "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.0\n\n", "27 16");
	CHECK("http1", "\r\nPOST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhelloGET", "45 +3");
	CHECK("http1", "POST / HTTP/1.1\r\ncontent-LENGTH:\t5 \r\n\r\nhello", "44");
	CHECK("http1", "POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
	      "62");
	CHECK("http1",
	      "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
	      "5\r\nhello\r\nA;x=y\r\n0123456789\r\n0\r\nTrailer: 1\r\n\r\nGET / HTTP/1.1\r\n\r\n",
	      "93 18");
	CHECK("http1", "POST / HTTP/1.1\r\nTransfer-Encoding: gzip, Chunked\r\n\r\n0\r\n\r\n",
	      "58");
	CHECK("http1", "POST / HTTP/1.1\r\nX-Content-Length: 5\r\nContent-Lengths: 7\r\n\r\n",
	      "60");
}

static void http_hostile(void **state)
{
#define POST "POST / HTTP/1.1\r\n"
	(void)state;
	CHECK("http1", "\x16\x03\x01\r\n", "EPROTO");
	CHECK("http1", POST "Content-Length: 5\r\nContent-Length: 6\r\n", "EPROTO");
	CHECK("http1", POST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "EPROTO");
	CHECK("http1", POST "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "EPROTO");
	CHECK("http1", POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
	      "EPROTO");
	CHECK("http1", POST "Transfer-Encoding: gzip\r\n", "EPROTO");
	CHECK("http1", POST "Transfer-Encoding:\r\n chunked\r\n", "EPROTO");
	CHECK("http1", POST "Content-Length : 5\r\n", "EPROTO");
	CHECK("http1", POST "Transfer-Encoding : chunked\r\n", "EPROTO");
	CHECK("http1", POST "Content-Length: \r\n", "EPROTO");
	CHECK("http1", POST "Content-Length: -5\r\n", "EPROTO");
	CHECK("http1", POST "Content-Length: 5, 5\r\n", "EPROTO");
	CHECK("http1", POST "Content-Length: 4294967296\r\n", "EMSGSIZE");
	CHECK("http1", POST "Content-Length: 99999999999\r\n", "EPROTO");
	CHECK("http1", POST "Transfer-Encoding: chunked\r\n\r\nx\r\n", "EPROTO");
	CHECK("http1", POST "Transfer-Encoding: chunked\r\n\r\n\r\n", "EPROTO");
	CHECK("http1", POST "Transfer-Encoding: chunked\r\n\r\n5x\r\n", "EPROTO");
	CHECK("http1", POST "Transfer-Encoding: chunked\r\n\r\nffffffff\r\n", "EMSGSIZE");
	CHECK("http1", POST "Transfer-Encoding: chunked\r\n\r\n1000000000\r\n", "EPROTO");
	CHECK("http1 max=64", POST "Content-Length: 26\r\n\r\n", "EMSGSIZE");
	CHECK("http1 max=64", POST "Content-Length: 25\r\n\r\n", "+39/64");
}

static void http_methods(void **state)
{
	(void)state;
	CHECK("http1", "HEAD / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n", "19h 18");
	CHECK("http1", "CONNECT a:1 HTTP/1.1\r\n\r\n", "24t");
	CHECK("http1", "\r\n\r\nHEAD\t/\r\n\r\nHEADS /\r\n\r\nCONNECT\r\n\r\n", "14 11 11");
}

#define REPLY(literal, expected) CHECK_TOLD("http1", KCM_FS_REPLY, literal, expected)
#define OK			 "HTTP/1.1 200 OK\r\n"
#define GET_OK			 OK "Content-Length: 2\r\n\r\nok"

static void http_replies(void **state)
{
	(void)state;
	REPLY(GET_OK GET_OK "HTTP/1.0 404\nContent-length:0\n\n", "40 40 31");
	REPLY(OK "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nT: 1\r\n\r\n" GET_OK, "65 40");
	/* one without a length ends with the connection */
	REPLY(OK "\r\nHTTP/1.1", "19c +8");
	REPLY(OK "Transfer-Encoding: gzip\r\nContent-Length: 5\r\n\r\n", "63c");
	REPLY(OK "Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n\r\n", "72c");
	/* chunks count more than a length */
	REPLY(OK "Content-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" GET_OK,
	      "71 40");
	REPLY(OK "Transfer-Encoding: chunked\r\nContent-Length: 9\r\n\r\n0\r\n\r\n" GET_OK,
	      "71 40");
	/* no body, whatever the head says */
	REPLY("HTTP/1.1 204 No\r\n\r\nHTTP/1.1 304 No\r\nContent-Length: 50\r\n\r\n" GET_OK,
	      "19 39 40");
	REPLY("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hint\r\nLink: a\r\n\r\n" GET_OK,
	      "25i 30i 40");
	REPLY("HTTP/1.1 101 Switch\r\nContent-Length: 9\r\n\r\n", "42o");
}

static void http_replies_to_head_and_connect(void **state)
{
	(void)state;
	CHECK_TOLD("http1", KCM_FS_REPLY | KCM_FS_NOBODY,
		   OK "Content-Length: 99999999999999\r\n\r\n" OK
		      "Transfer-Encoding: chunked\r\n\r\n" OK "\r\n",
		   "51 47 19");
	CHECK_TOLD("http1", KCM_FS_REPLY | KCM_FS_TUNNEL,
		   "HTTP/1.1 407 No\r\nContent-Length: 2\r\n\r\nno" OK "\r\n\x16\x03", "40 19o +2");
}

static void http_replies_hostile(void **state)
{
	(void)state;
	REPLY("GET / HTTP/1.1\r\n", "EPROTO");
	REPLY("HTTP/1.1 20 OK\r\n", "EPROTO");
	REPLY("HTTP/2.0 200 OK\r\n", "EPROTO");
	REPLY("HTTP/1.1 2x0 OK\r\n", "EPROTO");
	REPLY("HTTP/1.1\t200 OK\r\n", "EPROTO");
	REPLY("HTTP/1.1 200\n\n", "14c");
	REPLY("HTTP/1.1 20\n", "EPROTO");
	REPLY(OK "Content-Length: 5\r\nContent-Length: 6\r\n", "EPROTO");
	REPLY(OK "Content-Length: 4294967296\r\n", "EMSGSIZE");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(resp_requests),
		cmocka_unit_test(resp_replies),
		cmocka_unit_test(resp3),
		cmocka_unit_test(resp_hostile),
		cmocka_unit_test(resp_max),
		cmocka_unit_test(memcached_commands),
		cmocka_unit_test(memcached_replies),
		cmocka_unit_test(memcached_hostile),
		cmocka_unit_test(memcached_long_lines),
		cmocka_unit_test(nats),
		cmocka_unit_test(websocket),
		cmocka_unit_test(http_requests),
		cmocka_unit_test(http_hostile),
		cmocka_unit_test(http_methods),
		cmocka_unit_test(http_replies),
		cmocka_unit_test(http_replies_to_head_and_connect),
		cmocka_unit_test(http_replies_hostile),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
