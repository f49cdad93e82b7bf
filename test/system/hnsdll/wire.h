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

static int send_all(SOCKET s, const char *data, uint32_t size)
{
	while (size > 0) {
		int n = send(s, data, (int)size, 0);
		if (n <= 0)
			return 0;
		data += n;
		size -= (uint32_t)n;
	}
	return 1;
}

static int receive_all(SOCKET s, char *data, uint32_t size)
{
	while (size > 0) {
		int n = recv(s, data, (int)size, 0);
		if (n <= 0)
			return 0;
		data += n;
		size -= (uint32_t)n;
	}
	return 1;
}

static int send_text(SOCKET s, const char *text)
{
	uint32_t size = (uint32_t)strlen(text);
	return send_all(s, (const char *)&size, sizeof(size)) && send_all(s, text, size);
}

/* Receives a string; the caller frees it. */
static char *receive_text(SOCKET s)
{
	uint32_t size;
	char *text;

	if (!receive_all(s, (char *)&size, sizeof(size)))
		return NULL;
	text = malloc((size_t)size + 1);
	if (text == NULL || !receive_all(s, text, size)) {
		free(text);
		return NULL;
	}
	text[size] = 0;
	return text;
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

/* Copies a string into memory that the caller of the API frees with CoTaskMemFree; the empty string is no string. */
static PWSTR to_wide(const char *text)
{
	int size;
	PWSTR wide;

	if (text[0] == 0)
		return NULL;
	size = MultiByteToWideChar(CP_UTF8, 0, text, -1, NULL, 0);
	wide = CoTaskMemAlloc((size_t)size * sizeof(WCHAR));
	if (wide != NULL)
		MultiByteToWideChar(CP_UTF8, 0, text, -1, wide, size);
	return wide;
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

static int request(SOCKET s, const char *operation, const char *kind, const char *guid, const char *argument)
{
	char path[MAX_PATH] = "";
	const char *name;

	GetModuleFileNameA(NULL, path, sizeof(path) - 1);
	name = strrchr(path, '\\');
	return send_text(s, name != NULL ? name + 1 : path) && send_text(s, operation) && send_text(s, kind) &&
	       send_text(s, guid) && send_text(s, argument);
}

/* Makes a call. Result and record, where they are wanted, are left empty or filled with strings of the API. */
static HRESULT call(const char *operation, const char *kind, const char *guid, PCWSTR argument, PWSTR *result, PWSTR *record)
{
	HRESULT hr = HNS_NOT_RUNNING;
	int32_t code;
	char *text = to_utf8(argument), *answer = NULL, *complaint = NULL;
	SOCKET s = dial();

	if (result != NULL)
		*result = NULL;
	if (record != NULL)
		*record = NULL;
	if (s == INVALID_SOCKET || text == NULL || !request(s, operation, kind, guid, text))
		goto done;
	if (!receive_all(s, (char *)&code, sizeof(code)))
		goto done;
	answer = receive_text(s);
	complaint = receive_text(s);
	if (answer == NULL || complaint == NULL)
		goto done;
	hr = (HRESULT)code;
	if (result != NULL)
		*result = to_wide(answer);
	if (record != NULL)
		*record = to_wide(complaint);
done:
	free(text);
	free(answer);
	free(complaint);
	if (s != INVALID_SOCKET)
		closesocket(s);
	return hr;
}

#endif
