"""Plain PyTorch, as its tutorials put an encoder-decoder together, and with what a careful user adds.

`nn.LSTM` over packed sequences, Luong attention over whole targets at once, length buckets, and greedy and beam search
for batches in Python loops.

    python benchmarks/peers/system_pytorch.py train
"""

import comparison
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


class Translator(nn.Module):
    """A bidirectional LSTM, and an LSTM whose states attend to its outputs."""

    def __init__(self, settings):
        super().__init__()
        vocabulary_size, units = settings.vocabulary_size, settings.decoder_units
        self.source_embedding = nn.Embedding(vocabulary_size, settings.embedding_dim, padding_idx=comparison.PADDING_ID)
        self.target_embedding = nn.Embedding(vocabulary_size, settings.embedding_dim, padding_idx=comparison.PADDING_ID)
        self.encoder = nn.LSTM(settings.embedding_dim, settings.encoder_units, batch_first=True, bidirectional=True)
        self.decoder = nn.LSTM(settings.embedding_dim, units, batch_first=True)
        self.keys = nn.Linear(2 * settings.encoder_units, units, bias=False)
        self.combine = nn.Linear(2 * settings.encoder_units + units, units)
        self.logits = nn.Linear(units, vocabulary_size)
        self.dropout = nn.Dropout(settings.dropout)

    def encode(self, token_ids):
        """The memory, its keys and its padding, and the initial state of the decoder."""
        padding = token_ids == comparison.PADDING_ID
        embedded = self.dropout(self.source_embedding(token_ids))
        lengths = (~padding).sum(dim=1)
        packed = pack_padded_sequence(embedded, lengths, batch_first=True, enforce_sorted=False)
        memory, state = self.encoder(packed)
        memory, _ = pad_packed_sequence(memory, batch_first=True, total_length=token_ids.shape[1])
        memory = self.dropout(memory)  # (batch, source, 2 * units)
        state = tuple(torch.cat([part[0], part[1]], dim=-1)[None] for part in state)  # (1, batch, 2 * units)
        return (memory, self.keys(memory), padding), state

    def decode(self, token_ids, context, state):
        """Logits `(batch, target, vocabulary)` and the next state."""
        memory, keys, padding = context
        hidden, state = self.decoder(self.dropout(self.target_embedding(token_ids)), state)
        scores = hidden @ keys.transpose(1, 2)  # (batch, target, source)
        weights = scores.masked_fill(padding[:, None], float("-inf")).softmax(dim=-1)
        attentional = torch.tanh(self.combine(torch.cat([weights @ memory, hidden], dim=-1)))
        return self.logits(self.dropout(attentional)), state

    def forward(self, source, target):
        return self.decode(target, *self.encode(source))[0]


def padded(sequences):
    return nn.utils.rnn.pad_sequence([torch.tensor(sequence) for sequence in sequences], batch_first=True)


def train(model, arguments, steps, clock=None):
    """Trains for some steps and returns the last loss."""
    settings = arguments.settings
    sources, targets = (comparison.read_ids(arguments, "train", language) for language in comparison.LANGUAGES)
    optimizer = torch.optim.Adam(model.parameters(), lr=settings.learning_rate)
    crossentropy = nn.CrossEntropyLoss(ignore_index=comparison.PADDING_ID, label_smoothing=settings.label_smoothing)
    batches = comparison.bucketed_batches(sources, targets, settings.batch_size)
    model.train()
    for _, batch in zip(range(steps), batches, strict=False):
        source = padded([[*sources[index], comparison.END_ID] for index in batch])
        target = padded([[comparison.START_ID, *targets[index]] for index in batch])
        labels = padded([[*targets[index], comparison.END_ID] for index in batch])
        loss = crossentropy(model(source, target).flatten(0, 1), labels.flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), settings.gradient_norm)
        optimizer.step()
        if clock is not None:
            clock.step((labels != comparison.PADDING_ID).sum())
    return loss.item()


@torch.inference_mode()
def greedy_search(model, sources, max_length):
    """Outputs of a batch and the mean log-probabilities of their tokens."""
    context, state = model.encode(padded([[*source, comparison.END_ID] for source in sources]))
    token_ids = torch.full((len(sources), 1), comparison.START_ID)
    ended = torch.zeros(len(sources), dtype=torch.bool)
    scores, lengths, steps = torch.zeros(len(sources)), torch.zeros(len(sources)), []
    for _ in range(max_length):
        logits, state = model.decode(token_ids, context, state)
        best, token_ids = logits[:, 0].log_softmax(dim=-1).max(dim=-1)
        scores += best.masked_fill(ended, 0.0)
        lengths += ~ended
        token_ids = token_ids.masked_fill(ended, comparison.END_ID)
        ended |= token_ids == comparison.END_ID
        steps.append(token_ids)
        token_ids = token_ids[:, None]
        if ended.all():
            break
    outputs = torch.stack(steps, dim=1).tolist()
    return [comparison.until_end(output) for output in outputs], (scores / lengths).tolist()


@torch.inference_mode()
def beam_search(model, sources, max_length, beam_width):
    """As `greedy_search`; hypotheses are compared by mean log-probability, and a source ends with its whole beam."""
    batch = len(sources)
    context, state = model.encode(padded([[*source, comparison.END_ID] for source in sources]))
    context = [tensor.repeat_interleave(beam_width, dim=0) for tensor in context]
    state = [tensor.repeat_interleave(beam_width, dim=1) for tensor in state]
    first_rows = beam_width * torch.arange(batch)[:, None]
    token_ids = torch.full((batch, beam_width), comparison.START_ID)
    scores = torch.full((batch, beam_width), float("-inf"))
    scores[:, 0] = 0.0  # All hypotheses are the same at first.
    lengths, ended = torch.zeros(batch, beam_width), torch.zeros(batch, beam_width, dtype=torch.bool)
    outputs = torch.empty((batch, beam_width, 0), dtype=torch.long)
    for _ in range(max_length):
        logits, state = model.decode(token_ids.view(-1, 1), context, state)
        log_probabilities = logits[:, 0].log_softmax(dim=-1)
        best, candidates = log_probabilities.topk(beam_width, dim=-1)  # More of one hypothesis cannot be needed.
        best, candidates = (tensor.view(batch, beam_width, beam_width) for tensor in (best, candidates))
        # A hypothesis that has ended goes on as itself alone.
        best = best.masked_fill(ended[:, :, None], float("-inf"))
        best[:, :, 0].masked_fill_(ended, 0.0)
        candidates = candidates.masked_fill(ended[:, :, None], comparison.END_ID)
        candidate_scores = (scores[:, :, None] + best).flatten(1)
        candidate_lengths = (lengths + ~ended).repeat_interleave(beam_width, dim=1)
        chosen = (candidate_scores / candidate_lengths).topk(beam_width, dim=1).indices  # (batch, beams)
        scores, lengths = candidate_scores.gather(1, chosen), candidate_lengths.gather(1, chosen)
        token_ids, parents = candidates.flatten(1).gather(1, chosen), chosen // beam_width
        ended = ended.gather(1, parents) | (token_ids == comparison.END_ID)
        rows = (first_rows + parents).flatten()
        outputs = torch.cat([outputs.flatten(0, 1)[rows].view(batch, beam_width, -1), token_ids[:, :, None]], dim=2)
        state = [tensor[:, rows] for tensor in state]
        if ended.all():
            break
    means, best = (scores / lengths).max(dim=1)
    outputs = outputs[torch.arange(batch), best].tolist()
    return [comparison.until_end(output) for output in outputs], means.tolist()


def main():
    arguments = comparison.parse_arguments(__doc__)
    settings = arguments.settings
    torch.set_num_threads(comparison.THREADS)
    torch.manual_seed(1)
    model = Translator(settings)
    weights = comparison.weights_path(arguments, "pytorch.pt")
    outputs = None
    if arguments.what == "weights":
        result = {"loss": train(model, arguments, settings.weight_steps)}
        torch.save(model.state_dict(), weights)
    elif arguments.what == "train":
        clock = comparison.StepClock(settings)
        train(model, arguments, settings.all_steps, clock)
        result = clock.result()
    else:
        model.load_state_dict(torch.load(weights))
        model.eval()

        def decode(sources):
            if arguments.what == "beam":
                return beam_search(model, sources, settings.max_length, settings.beam_width)
            return greedy_search(model, sources, settings.max_length)

        sources = comparison.read_ids(arguments, "test", comparison.LANGUAGES[0])
        result, outputs = comparison.measure_search(arguments, sources, decode)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    comparison.print_result("pytorch", arguments, {"torch": torch.__version__}, parameters, result, outputs)


if __name__ == "__main__":
    main()
