/* SPDX-License-Identifier: Apache-2.0
 *
 * One call to the server. See README.md for the protocol.
 */
#ifndef WIRE_H
#define WIRE_H

#include <winsock2.h>
#include <windows.h>
#include <objbase.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What a call answers with when the server is not there, which is what HNS answers with when it is not running. */
#define HNS_NOT_RUNNING ((HRESULT)0x800706ba)

/* What is sent: four bytes for the length of the rest, and the rest. */
struct message {
	char *data;
	uint32_t size;
};

static int append(struct message *m, const void *data, uint32_t size)
{
	char *grown = realloc(m->data, (size_t)m->size + size);

	if (grown == NULL)
		return 0;
	memcpy(grown + m->size, data, size);
	m->data = grown;
	m->size += size;
	return 1;
}

static int append_text(struct message *m, const char *text)
{
	uint32_t size = (uint32_t)strlen(text);
	return append(m, &size, sizeof(size)) && append(m, text, size);
}

static int send_message(SOCKET s, struct message *m)
{
	uint32_t rest = m->size - sizeof(rest), sent = 0;

	memcpy(m->data, &rest, sizeof(rest));
	while (sent < m->size) {
		int n = send(s, m->data + sent, (int)(m->size - sent), 0);
		if (n <= 0)
			return 0;
		sent += (uint32_t)n;
	}
	return 1;
}

/* Receives a message, mostly with one call, into memory that the caller frees. */
static int receive_message(SOCKET s, struct message *m)
{
	uint32_t rest, got = 0, wanted = sizeof(rest), space = 16 << 10;

	m->data = malloc(space);
	while (m->data != NULL && got < wanted) {
		int n = recv(s, m->data + got, (int)(space - got), 0);
		if (n <= 0)
			return 0;
		got += (uint32_t)n;
		if (wanted > sizeof(rest) || got < sizeof(rest))
			continue;
		memcpy(&rest, m->data, sizeof(rest));
		wanted += rest;
		if (wanted > space) {
			char *grown = realloc(m->data, wanted);
			if (grown == NULL)
				return 0;
			m->data = grown;
			space = wanted;
		}
	}
	m->size = got;
	return m->data != NULL;
}

static char *to_utf8(PCWSTR wide)
{
	int size;
	char *text;

	if (wide == NULL)
		return strdup("");
	size = WideCharToMultiByte(CP_UTF8, 0, wide, -1, NULL, 0, NULL, NULL);
	text = malloc((size_t)size);
	if (text != NULL)
		WideCharToMultiByte(CP_UTF8, 0, wide, -1, text, size, NULL, NULL);
	return text;
}

/* Moves the offset behind the string at it, which it copies if text is wanted. The caller of the API frees the copy with
 * CoTaskMemFree; the empty string is no string. */
static void take_text(const struct message *m, uint32_t *at, PWSTR *text)
{
	uint32_t size;
	const char *utf8;
	int length;

	memcpy(&size, m->data + *at, sizeof(size));
	utf8 = m->data + *at + sizeof(size);
	*at += sizeof(size) + size;
	if (text == NULL || size == 0)
		return;
	length = MultiByteToWideChar(CP_UTF8, 0, utf8, (int)size, NULL, 0);
	*text = CoTaskMemAlloc(((size_t)length + 1) * sizeof(WCHAR));
	if (*text != NULL) {
		MultiByteToWideChar(CP_UTF8, 0, utf8, (int)size, *text, length);
		(*text)[length] = 0;
	}
}

static SOCKET dial(void)
{
	WSADATA data;
	struct sockaddr_in address = {0};
	const char *port = getenv("HNS_SERVER_PORT");
	SOCKET s;

	if (port == NULL || WSAStartup(MAKEWORD(2, 2), &data) != 0)
		return INVALID_SOCKET;
	s = socket(AF_INET, SOCK_STREAM, 0);
	if (s == INVALID_SOCKET)
		return s;
	address.sin_family = AF_INET;
	address.sin_port = htons((u_short)atoi(port));
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (connect(s, (struct sockaddr *)&address, sizeof(address)) != 0) {
		closesocket(s);
		return INVALID_SOCKET;
	}
	return s;
}

/* Connections that no call uses now. To connect costs many times as much as a call. */
enum { MAX_IDLE = 16 };
static PVOID volatile idle[MAX_IDLE];

static SOCKET take_connection(void)
{
	for (int i = 0; i < MAX_IDLE; i++) {
		PVOID s = InterlockedExchangePointer(&idle[i], NULL);
		if (s != NULL)
			return (SOCKET)s;
	}
	return dial();
}

static void give_back(SOCKET s)
{
	for (int i = 0; i < MAX_IDLE; i++)
		if (InterlockedCompareExchangePointer(&idle[i], (PVOID)s, NULL) == NULL)
			return;
	closesocket(s);
}

static int compose(struct message *m, const char *operation, const char *kind, const char *guid, const char *argument)
{
	char path[MAX_PATH] = "";
	const char *name;
	uint32_t length = 0;

	GetModuleFileNameA(NULL, path, sizeof(path) - 1);
	name = strrchr(path, '\\');
	return append(m, &length, sizeof(length)) && append_text(m, name != NULL ? name + 1 : path) &&
	       append_text(m, operation) && append_text(m, kind) && append_text(m, guid) && append_text(m, argument);
}

/* Makes a call. Result and record, where they are wanted, are left empty or filled with strings of the API. */
static HRESULT call(const char *operation, const char *kind, const char *guid, PCWSTR argument, PWSTR *result, PWSTR *record)
{
	HRESULT hr = HNS_NOT_RUNNING;
	int32_t code;
	uint32_t at = sizeof(uint32_t) + sizeof(code);
	struct message request = {0}, response = {0};
	char *text = to_utf8(argument);
	SOCKET s = take_connection();

	if (result != NULL)
		*result = NULL;
	if (record != NULL)
		*record = NULL;
	if (s == INVALID_SOCKET)
		goto done;
	if (text == NULL || !compose(&request, operation, kind, guid, text) || !send_message(s, &request) ||
	    !receive_message(s, &response)) {
		closesocket(s);
		goto done;
	}
	give_back(s);
	memcpy(&code, response.data + sizeof(uint32_t), sizeof(code));
	hr = (HRESULT)code;
	take_text(&response, &at, result);
	take_text(&response, &at, record);
done:
	free(text);
	free(request.data);
	free(response.data);
	return hr;
}

#endif
