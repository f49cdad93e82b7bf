/* SPDX-License-Identifier: Apache-2.0
 *
 * The one function of bcryptprimitives.dll that the Go runtime needs, made of what Wine 8 has: advapi32's
 * SystemFunction036, which is RtlGenRandom by its documented name.
 */
#include <windows.h>

BOOLEAN NTAPI SystemFunction036(PVOID buffer, ULONG size);

__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE data, SIZE_T size)
{
	while (size > 0) {
		ULONG part = size > 0x10000000 ? 0x10000000 : (ULONG)size;
		if (!SystemFunction036(data, part))
			return FALSE;
		data += part;
		size -= part;
	}
	return TRUE;
}
