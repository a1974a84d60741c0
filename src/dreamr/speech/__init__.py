"""Speech: transcription of sounds, for pairs in which a model does not hear."""

from dreamr.speech.errors import NoSpeech
from dreamr.speech.hearing import needs_transcript, transcribed, with_transcripts
from dreamr.speech.opening import OpenTranscriber, open_transcriber
from dreamr.speech.pair import PairSpeech, Transcripts
from dreamr.speech.transcript import Transcriber, Transcribing, Transcript

__all__ = [
    "NoSpeech",
    "OpenTranscriber",
    "PairSpeech",
    "Transcriber",
    "Transcribing",
    "Transcript",
    "Transcripts",
    "needs_transcript",
    "open_transcriber",
    "transcribed",
    "with_transcripts",
]
