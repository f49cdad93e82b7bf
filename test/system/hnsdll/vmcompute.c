/* SPDX-License-Identifier: Apache-2.0
 *
 * vmcompute.dll: of it, the one function of HNS' older interface.
 */
#include "wire.h"

__declspec(dllexport) HRESULT WINAPI HNSCall(PCWSTR method, PCWSTR path, PCWSTR object, PWSTR *response)
{
	char *m = to_utf8(method), *p = to_utf8(path);
	HRESULT hr = E_OUTOFMEMORY;

	if (m != NULL && p != NULL)
		hr = call(m, p, "", object, response, NULL);
	free(m);
	free(p);
	return hr;
}
