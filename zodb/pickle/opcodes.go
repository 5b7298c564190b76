package pickle

// Opcodes, by the names that Lib/pickletools.py in CPython gives them.
const (
	opMark          = '('
	opStop          = '.'
	opPop           = '0'
	opPopMark       = '1'
	opDup           = '2'
	opBinBytes      = 'B'
	opShortBinBytes = 'C'
	opFloat         = 'F'
	opBinFloat      = 'G'
	opInt           = 'I'
	opBinInt        = 'J'
	opBinInt1       = 'K'
	opLong          = 'L'
	opBinInt2       = 'M'
	opNone          = 'N'
	opPersID        = 'P'
	opBinPersID     = 'Q'
	opReduce        = 'R'
	opString        = 'S'
	opBinString     = 'T'
	opShortBinStr   = 'U'
	opUnicode       = 'V'
	opBinUnicode    = 'X'
	opAppend        = 'a'
	opBuild         = 'b'
	opGlobal        = 'c'
	opDict          = 'd'
	opAppends       = 'e'
	opGet           = 'g'
	opBinGet        = 'h'
	opInst          = 'i'
	opLongBinGet    = 'j'
	opList          = 'l'
	opObj           = 'o'
	opPut           = 'p'
	opBinPut        = 'q'
	opLongBinPut    = 'r'
	opSetItem       = 's'
	opTuple         = 't'
	opSetItems      = 'u'
	opEmptyDict     = '}'
	opEmptyList     = ']'
	opEmptyTuple    = ')'
	opProto         = 0x80
	opNewObj        = 0x81
	opExt1          = 0x82
	opExt2          = 0x83
	opExt4          = 0x84
	opTuple1        = 0x85
	opTuple2        = 0x86
	opTuple3        = 0x87
	opNewTrue       = 0x88
	opNewFalse      = 0x89
	opLong1         = 0x8a
	opLong4         = 0x8b
	opShortUnicode  = 0x8c
	opBinUnicode8   = 0x8d
	opBinBytes8     = 0x8e
	opEmptySet      = 0x8f
	opAddItems      = 0x90
	opFrozenSet     = 0x91
	opNewObjEx      = 0x92
	opStackGlobal   = 0x93
	opMemoize       = 0x94
	opFrame         = 0x95
	opByteArray8    = 0x96
	opNextBuffer    = 0x97
	opReadonlyBuf   = 0x98
)

// protocol is what the writer writes: zodbpickle reads nothing newer.
const protocol = 3

// highest is the last protocol that the reader knows.
const highest = 5
