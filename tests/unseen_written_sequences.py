"""Text, sequences, recommendation, graphs, tables, time series and sound as people write them in their own repositories, small. ROWS: as in unseen_models.py."""
import math
from collections import OrderedDict
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import einsum
from torch.nn.init import xavier_uniform_
from einops import rearrange, reduce, repeat
from unseen_written import ids, text, register
from zoo_transformers import floats, ints

ROWS = {}
written = register(ROWS, "sequences-")


def short(length): return lambda b, n, device: dict(idx=ints(b, length, device=device), targets=ints(b, length, device=device))
def pairs(length, other=None): return lambda b, n, device: dict(src=ints(b, length, device=device), trg=ints(b, other or length, device=device))


class LSTM(nn.Module):
    """nn.LSTM one nn.LSTMCell at a time: the tracer has no cuDNN"""
    def __init__(self, input_size, hidden_size, num_layers=1, batch_first=False, dropout=0., bidirectional=False):
        super().__init__()
        self.hidden_size, self.num_layers, self.batch_first, self.dropout, self.dirs = hidden_size, num_layers, batch_first, dropout, 2 if bidirectional else 1
        self.cells = nn.ModuleList([nn.LSTMCell(input_size if l == 0 else hidden_size * self.dirs, hidden_size) for l in range(num_layers) for _ in range(self.dirs)])

    def forward(self, x, state=None):
        x = list(x.unbind(1 if self.batch_first else 0))
        h_n, c_n = [], []
        for l in range(self.num_layers):
            outs = []
            for d in range(self.dirs):
                k = l * self.dirs + d
                cell = self.cells[k]
                hx = None if state is None else (state[0][k], state[1][k])
                out = []
                for x_t in (x if d == 0 else x[::-1]):
                    hx = cell(x_t, hx)
                    out.append(hx[0])
                h_n.append(hx[0])
                c_n.append(hx[1])
                outs.append(out if d == 0 else out[::-1])
            x = [torch.cat(o, dim=-1) for o in zip(*outs)] if self.dirs == 2 else outs[0]
            if self.dropout and l < self.num_layers - 1: x = [F.dropout(o, self.dropout, self.training) for o in x]
        return torch.stack(x, dim=1 if self.batch_first else 0), (torch.stack(h_n), torch.stack(c_n))


class GRU(nn.Module):
    """nn.GRU with its parameters, all inputs projected at once"""
    def __init__(self, input_size, hidden_size, num_layers=1, batch_first=False, dropout=0., bidirectional=False):
        super().__init__()
        self.hidden_size, self.num_layers, self.batch_first, self.dropout, self.dirs = hidden_size, num_layers, batch_first, dropout, 2 if bidirectional else 1
        for l in range(num_layers):
            for d in range(self.dirs):
                size, suffix = input_size if l == 0 else hidden_size * self.dirs, f"_l{l}" + ("_reverse" if d else "")
                for name, shape in (("weight_ih", (3 * hidden_size, size)), ("weight_hh", (3 * hidden_size, hidden_size)), ("bias_ih", (3 * hidden_size,)), ("bias_hh", (3 * hidden_size,))):
                    setattr(self, name + suffix, nn.Parameter(torch.empty(*shape)))
        stdv = 1.0 / math.sqrt(hidden_size)
        for weight in self.parameters(): nn.init.uniform_(weight, -stdv, stdv)

    def one(self, x, h, suffix, reverse):
        gi = F.linear(x, getattr(self, "weight_ih" + suffix), getattr(self, "bias_ih" + suffix))
        w_hh, b_hh, out = getattr(self, "weight_hh" + suffix), getattr(self, "bias_hh" + suffix), []
        for t in range(x.size(0))[::-1 if reverse else 1]:
            gh = F.linear(h, w_hh, b_hh)
            i_r, i_i, i_n = gi[t].chunk(3, 1)
            h_r, h_i, h_n = gh.chunk(3, 1)
            resetgate = torch.sigmoid(i_r + h_r)
            inputgate = torch.sigmoid(i_i + h_i)
            newgate = torch.tanh(i_n + resetgate * h_n)
            h = newgate + inputgate * (h - newgate)
            out.append(h)
        return torch.stack(out[::-1] if reverse else out), h

    def forward(self, x, hx=None):
        if self.batch_first: x = x.transpose(0, 1)
        if hx is None: hx = x.new_zeros(self.num_layers * self.dirs, x.size(1), self.hidden_size)
        last = []
        for l in range(self.num_layers):
            outs = []
            for d in range(self.dirs):
                out, h = self.one(x, hx[l * self.dirs + d], f"_l{l}" + ("_reverse" if d else ""), d == 1)
                outs.append(out)
                last.append(h)
            x = torch.cat(outs, -1) if self.dirs == 2 else outs[0]
            if self.dropout and l < self.num_layers - 1: x = F.dropout(x, self.dropout, self.training)
        return x.transpose(0, 1) if self.batch_first else x, torch.stack(last)


# ---------------------------------------------------------------- sequence to sequence

class EncoderRNN(nn.Module):
    def __init__(self, hidden_size, embedding, n_layers=1, dropout=0):
        super(EncoderRNN, self).__init__()
        self.n_layers = n_layers
        self.hidden_size = hidden_size
        self.embedding = embedding
        self.gru = GRU(hidden_size, hidden_size, n_layers, dropout=(0 if n_layers == 1 else dropout), bidirectional=True)

    def forward(self, input_seq, hidden=None):
        embedded = self.embedding(input_seq)
        outputs, hidden = self.gru(embedded, hidden)
        outputs = outputs[:, :, :self.hidden_size] + outputs[:, :, self.hidden_size:]
        return outputs, hidden


class Attn(nn.Module):
    def __init__(self, method, hidden_size):
        super(Attn, self).__init__()
        self.method = method
        self.hidden_size = hidden_size
        if self.method == 'general':
            self.attn = nn.Linear(self.hidden_size, hidden_size)
        elif self.method == 'concat':
            self.attn = nn.Linear(self.hidden_size * 2, hidden_size)
            self.v = nn.Parameter(torch.FloatTensor(hidden_size))

    def dot_score(self, hidden, encoder_output):
        return torch.sum(hidden * encoder_output, dim=2)

    def general_score(self, hidden, encoder_output):
        energy = self.attn(encoder_output)
        return torch.sum(hidden * energy, dim=2)

    def concat_score(self, hidden, encoder_output):
        energy = self.attn(torch.cat((hidden.expand(encoder_output.size(0), -1, -1), encoder_output), 2)).tanh()
        return torch.sum(self.v * energy, dim=2)

    def forward(self, hidden, encoder_outputs):
        if self.method == 'general':
            attn_energies = self.general_score(hidden, encoder_outputs)
        elif self.method == 'concat':
            attn_energies = self.concat_score(hidden, encoder_outputs)
        elif self.method == 'dot':
            attn_energies = self.dot_score(hidden, encoder_outputs)
        attn_energies = attn_energies.t()
        return F.softmax(attn_energies, dim=1).unsqueeze(1)


class LuongAttnDecoderRNN(nn.Module):
    def __init__(self, attn_model, embedding, hidden_size, output_size, n_layers=1, dropout=0.1):
        super(LuongAttnDecoderRNN, self).__init__()
        self.embedding = embedding
        self.embedding_dropout = nn.Dropout(dropout)
        self.gru = GRU(hidden_size, hidden_size, n_layers, dropout=(0 if n_layers == 1 else dropout))
        self.concat = nn.Linear(hidden_size * 2, hidden_size)
        self.out = nn.Linear(hidden_size, output_size)
        self.attn = Attn(attn_model, hidden_size)

    def forward(self, input_step, last_hidden, encoder_outputs):
        embedded = self.embedding(input_step)
        embedded = self.embedding_dropout(embedded)
        rnn_output, hidden = self.gru(embedded, last_hidden)
        attn_weights = self.attn(rnn_output, encoder_outputs)
        context = attn_weights.bmm(encoder_outputs.transpose(0, 1))
        rnn_output = rnn_output.squeeze(0)
        context = context.squeeze(1)
        concat_input = torch.cat((rnn_output, context), 1)
        concat_output = torch.tanh(self.concat(concat_input))
        output = self.out(concat_output)
        output = F.softmax(output, dim=1)
        return output, hidden


class Chatbot(nn.Module):
    """the chatbot tutorial"""
    attn_model = 'general'

    def __init__(self):
        super().__init__()
        embedding = nn.Embedding(1000, 128)
        self.encoder = EncoderRNN(128, embedding, 2, 0.1)
        self.decoder = LuongAttnDecoderRNN(self.attn_model, embedding, 128, 1000, 2, 0.1)

    def maskNLLLoss(self, inp, target, mask):
        nTotal = mask.sum()
        crossEntropy = -torch.log(torch.gather(inp, 1, target.view(-1, 1)).squeeze(1))
        loss = crossEntropy.masked_fill(~mask, 0).sum() / nTotal
        return loss

    def forward(self, src, trg):
        input_variable, target_variable = src.t(), trg.t()
        mask = target_variable != 2
        loss = 0
        encoder_outputs, encoder_hidden = self.encoder(input_variable)
        decoder_input = torch.ones(1, src.size(0), dtype=torch.long, device=src.device)
        decoder_hidden = encoder_hidden[:2]
        for t in range(target_variable.size(0)):
            decoder_output, decoder_hidden = self.decoder(decoder_input, decoder_hidden, encoder_outputs)
            decoder_input = target_variable[t].view(1, -1)
            mask_loss = self.maskNLLLoss(decoder_output, target_variable[t], mask[t])
            loss += mask_loss
        return loss


@written(pairs(10, 9))
class Chatbot_general(Chatbot): pass


@written(pairs(9, 7))
class Chatbot_concat(Chatbot): attn_model = 'concat'


@written(pairs(12, 10))
class Bahdanau(nn.Module):
    """bentrevett/pytorch-seq2seq, 3"""
    class Encoder(nn.Module):
        def __init__(self, input_dim, emb_dim, enc_hid_dim, dec_hid_dim, dropout):
            super().__init__()
            self.embedding = nn.Embedding(input_dim, emb_dim)
            self.rnn = GRU(emb_dim, enc_hid_dim, bidirectional=True)
            self.fc = nn.Linear(enc_hid_dim * 2, dec_hid_dim)
            self.dropout = nn.Dropout(dropout)

        def forward(self, src):
            embedded = self.dropout(self.embedding(src))
            outputs, hidden = self.rnn(embedded)
            hidden = torch.tanh(self.fc(torch.cat((hidden[-2, :, :], hidden[-1, :, :]), dim=1)))
            return outputs, hidden

    class Attention(nn.Module):
        def __init__(self, enc_hid_dim, dec_hid_dim):
            super().__init__()
            self.attn = nn.Linear((enc_hid_dim * 2) + dec_hid_dim, dec_hid_dim)
            self.v = nn.Linear(dec_hid_dim, 1, bias=False)

        def forward(self, hidden, encoder_outputs):
            batch_size = encoder_outputs.shape[1]
            src_len = encoder_outputs.shape[0]
            hidden = hidden.unsqueeze(1).repeat(1, src_len, 1)
            encoder_outputs = encoder_outputs.permute(1, 0, 2)
            energy = torch.tanh(self.attn(torch.cat((hidden, encoder_outputs), dim=2)))
            attention = self.v(energy).squeeze(2)
            return F.softmax(attention, dim=1)

    class Decoder(nn.Module):
        def __init__(self, output_dim, emb_dim, enc_hid_dim, dec_hid_dim, dropout, attention):
            super().__init__()
            self.output_dim = output_dim
            self.attention = attention
            self.embedding = nn.Embedding(output_dim, emb_dim)
            self.rnn = GRU((enc_hid_dim * 2) + emb_dim, dec_hid_dim)
            self.fc_out = nn.Linear((enc_hid_dim * 2) + dec_hid_dim + emb_dim, output_dim)
            self.dropout = nn.Dropout(dropout)

        def forward(self, input, hidden, encoder_outputs):
            input = input.unsqueeze(0)
            embedded = self.dropout(self.embedding(input))
            a = self.attention(hidden, encoder_outputs)
            a = a.unsqueeze(1)
            encoder_outputs = encoder_outputs.permute(1, 0, 2)
            weighted = torch.bmm(a, encoder_outputs)
            weighted = weighted.permute(1, 0, 2)
            rnn_input = torch.cat((embedded, weighted), dim=2)
            output, hidden = self.rnn(rnn_input, hidden.unsqueeze(0))
            embedded = embedded.squeeze(0)
            output = output.squeeze(0)
            weighted = weighted.squeeze(0)
            prediction = self.fc_out(torch.cat((output, weighted, embedded), dim=1))
            return prediction, hidden.squeeze(0)

    def __init__(self):
        super().__init__()
        self.encoder = Bahdanau.Encoder(1000, 64, 96, 128, 0.5)
        self.decoder = Bahdanau.Decoder(1000, 64, 96, 128, 0.5, Bahdanau.Attention(96, 128))

    def forward(self, src, trg):
        src, trg = src.t(), trg.t()
        batch_size = src.shape[1]
        trg_len = trg.shape[0]
        outputs = torch.zeros(trg_len, batch_size, self.decoder.output_dim).to(src.device)
        encoder_outputs, hidden = self.encoder(src)
        input = trg[0, :]
        for t in range(1, trg_len):
            output, hidden = self.decoder(input, hidden, encoder_outputs)
            outputs[t] = output
            input = trg[t]
        output = outputs[1:].view(-1, outputs.shape[-1])
        return F.cross_entropy(output, trg[1:].reshape(-1), ignore_index=1)


@written(lambda b, n, device: dict(inputs=floats(b, 10, 2, device=device), target=ints(b, 10, device=device)))
class PointerNet(nn.Module):
    def __init__(self, embedding_dim=64, hidden_dim=128):
        super().__init__()
        self.embedding = nn.Linear(2, embedding_dim)
        self.encoder = LSTM(embedding_dim, hidden_dim, 2, batch_first=True, dropout=0.1)
        self.hidden_dim = hidden_dim
        self.input_lin = nn.Linear(embedding_dim, 4 * hidden_dim)
        self.hidden_lin = nn.Linear(hidden_dim, 4 * hidden_dim)
        self.hidden_out = nn.Linear(hidden_dim * 2, hidden_dim)
        self.input_linear = nn.Linear(hidden_dim, hidden_dim)
        self.context_linear = nn.Conv1d(hidden_dim, hidden_dim, 1, 1)
        self.V = nn.Parameter(torch.FloatTensor(hidden_dim).uniform_(-1, 1), requires_grad=True)
        self.decoder_input0 = nn.Parameter(torch.FloatTensor(embedding_dim), requires_grad=False)

    def att(self, input, context, mask):
        inp = self.input_linear(input).unsqueeze(2).expand(-1, -1, context.size(1))
        context = context.permute(0, 2, 1)
        ctx = self.context_linear(context)
        V = self.V.unsqueeze(0).expand(context.size(0), -1).unsqueeze(1)
        att = torch.bmm(V, torch.tanh(inp + ctx)).squeeze(1)
        att = att.masked_fill(mask == 0, -1e4)
        alpha = F.softmax(att, dim=1)
        hidden_state = torch.bmm(ctx, alpha.unsqueeze(2)).squeeze(2)
        return hidden_state, alpha

    def forward(self, inputs, target):
        batch_size = inputs.size(0)
        input_length = inputs.size(1)
        embedded = self.embedding(inputs)
        context, (h, c) = self.encoder(embedded)
        h, c = h[-1], c[-1]
        mask = torch.ones(batch_size, input_length, device=inputs.device)
        runner = torch.arange(input_length, device=inputs.device).unsqueeze(0).expand(batch_size, -1)
        x = self.decoder_input0.unsqueeze(0).expand(batch_size, -1)
        outputs = []
        for i in range(input_length):
            gates = self.input_lin(x) + self.hidden_lin(h)
            input, forget, cell, out = gates.chunk(4, 1)
            input = torch.sigmoid(input)
            forget = torch.sigmoid(forget)
            cell = torch.tanh(cell)
            out = torch.sigmoid(out)
            c_t = (forget * c) + (input * cell)
            h_t = out * torch.tanh(c_t)
            hidden_t, output = self.att(h_t, context, mask)
            hidden_t = torch.tanh(self.hidden_out(torch.cat((hidden_t, h_t), 1)))
            h, c = hidden_t, c_t
            masked_outs = output * mask
            max_probs, indices = masked_outs.max(1)
            one_hot_pointers = (runner == indices.unsqueeze(1).expand(-1, input_length)).float()
            mask = mask * (1 - one_hot_pointers)
            embedding_mask = one_hot_pointers.unsqueeze(2).expand(-1, -1, 64)
            x = (embedded * embedding_mask).sum(1)
            outputs.append(output.unsqueeze(0))
        outputs = torch.cat(outputs).permute(1, 0, 2)
        return F.cross_entropy(outputs.contiguous().view(-1, input_length), target.view(-1))


@written(short(20))
class BiLSTM_CRF(nn.Module):
    """the CRF of pytorch-crf"""
    def __init__(self, num_tags=17):
        super().__init__()
        self.embed, self.dropout = nn.Embedding(5000, 100, padding_idx=0), nn.Dropout(0.5)
        self.lstm = LSTM(100, 64, num_layers=2, bidirectional=True, batch_first=True, dropout=0.3)
        self.hidden2tag = nn.Linear(128, num_tags)
        self.start_transitions = nn.Parameter(torch.empty(num_tags))
        self.end_transitions = nn.Parameter(torch.empty(num_tags))
        self.transitions = nn.Parameter(torch.empty(num_tags, num_tags))

    def _compute_score(self, emissions, tags, mask):
        seq_length, batch_size = tags.shape
        mask = mask.type_as(emissions)
        score = self.start_transitions[tags[0]]
        score += emissions[0, torch.arange(batch_size, device=tags.device), tags[0]]
        for i in range(1, seq_length):
            score += self.transitions[tags[i - 1], tags[i]] * mask[i]
            score += emissions[i, torch.arange(batch_size, device=tags.device), tags[i]] * mask[i]
        seq_ends = mask.long().sum(dim=0) - 1
        last_tags = tags[seq_ends, torch.arange(batch_size, device=tags.device)]
        score += self.end_transitions[last_tags]
        return score

    def _compute_normalizer(self, emissions, mask):
        seq_length = emissions.size(0)
        score = self.start_transitions + emissions[0]
        for i in range(1, seq_length):
            broadcast_score = score.unsqueeze(2)
            broadcast_emissions = emissions[i].unsqueeze(1)
            next_score = broadcast_score + self.transitions + broadcast_emissions
            next_score = torch.logsumexp(next_score, dim=1)
            score = torch.where(mask[i].unsqueeze(1), next_score, score)
        score += self.end_transitions
        return torch.logsumexp(score, dim=1)

    def forward(self, idx, targets):
        mask = idx.ge(0)
        x = self.dropout(self.embed(idx))
        out, _ = self.lstm(x)
        emissions = self.hidden2tag(self.dropout(out))
        emissions, tags, mask = emissions.transpose(0, 1), targets.transpose(0, 1), mask.transpose(0, 1)
        numerator = self._compute_score(emissions, tags, mask)
        denominator = self._compute_normalizer(emissions, mask)
        llh = numerator - denominator
        return -llh.mean()


@written(lambda b, n, device: dict(c_char=ints(b, 30, 12, device=device), q_char=ints(b, 12, 12, device=device), c_word=ints(b, 30, device=device), q_word=ints(b, 12, device=device), s=ints(b, device=device), e=ints(b, device=device)))
class BiDAF(nn.Module):
    """galsang/BiDAF-pytorch"""
    def __init__(self, h=50):
        super().__init__()
        self.char_emb, self.word_emb = nn.Embedding(200, 8, padding_idx=1), nn.Embedding(4000, 100)
        self.char_conv = nn.Sequential(nn.Conv2d(1, 100, (8, 5)), nn.ReLU())
        self.word_emb.weight.requires_grad_(False)
        for i in range(2):
            setattr(self, f'highway_linear{i}', nn.Sequential(nn.Linear(200, 200), nn.ReLU()))
            setattr(self, f'highway_gate{i}', nn.Sequential(nn.Linear(200, 200), nn.Sigmoid()))
        self.context_LSTM = LSTM(200, h, bidirectional=True, batch_first=True)
        self.att_weight_c, self.att_weight_q, self.att_weight_cq = nn.Linear(2 * h, 1), nn.Linear(2 * h, 1), nn.Linear(2 * h, 1)
        self.modeling_LSTM1, self.modeling_LSTM2 = LSTM(8 * h, h, bidirectional=True, batch_first=True), LSTM(2 * h, h, bidirectional=True, batch_first=True)
        self.p1_weight_g, self.p1_weight_m = nn.Linear(8 * h, 1), nn.Linear(2 * h, 1)
        self.p2_weight_g, self.p2_weight_m = nn.Linear(8 * h, 1), nn.Linear(2 * h, 1)
        self.output_LSTM = LSTM(2 * h, h, bidirectional=True, batch_first=True)
        self.dropout = nn.Dropout(p=0.2)

    def char_emb_layer(self, x):
        batch_size = x.size(0)
        x = self.dropout(self.char_emb(x))
        x = x.transpose(2, 3)
        x = x.view(-1, 8, x.size(3)).unsqueeze(1)
        x = self.char_conv(x).squeeze()
        x = F.max_pool1d(x, x.size(2)).squeeze()
        x = x.view(batch_size, -1, 100)
        return x

    def highway_network(self, x1, x2):
        x = torch.cat([x1, x2], dim=-1)
        for i in range(2):
            h = getattr(self, f'highway_linear{i}')(x)
            g = getattr(self, f'highway_gate{i}')(x)
            x = g * h + (1 - g) * x
        return x

    def att_flow_layer(self, c, q):
        c_len = c.size(1)
        q_len = q.size(1)
        cq = []
        for i in range(q_len):
            qi = q.select(1, i).unsqueeze(1)
            ci = self.att_weight_cq(c * qi).squeeze(-1)
            cq.append(ci)
        cq = torch.stack(cq, dim=-1)
        s = self.att_weight_c(c).expand(-1, -1, q_len) + self.att_weight_q(q).permute(0, 2, 1).expand(-1, c_len, -1) + cq
        a = F.softmax(s, dim=2)
        c2q_att = torch.bmm(a, q)
        b = F.softmax(torch.max(s, dim=2)[0], dim=1).unsqueeze(1)
        q2c_att = torch.bmm(b, c).squeeze(1)
        q2c_att = q2c_att.unsqueeze(1).expand(-1, c_len, -1)
        x = torch.cat([c, c2q_att, c * c2q_att, c * q2c_att], dim=-1)
        return x

    def forward(self, c_char, q_char, c_word, q_word, s, e):
        c_char, q_char = self.char_emb_layer(c_char), self.char_emb_layer(q_char)
        c_word, q_word = self.word_emb(c_word), self.word_emb(q_word)
        c, q = self.highway_network(c_char, c_word), self.highway_network(q_char, q_word)
        c = self.context_LSTM(self.dropout(c))[0]
        q = self.context_LSTM(self.dropout(q))[0]
        g = self.att_flow_layer(c, q)
        m = self.modeling_LSTM2(self.dropout(self.modeling_LSTM1(self.dropout(g))[0]))[0]
        p1 = (self.p1_weight_g(g) + self.p1_weight_m(m)).squeeze()
        m2 = self.output_LSTM(self.dropout(m))[0]
        p2 = (self.p2_weight_g(g) + self.p2_weight_m(m2)).squeeze()
        return F.cross_entropy(p1, s) + F.cross_entropy(p2, e)


# ---------------------------------------------------------------- language models

class LockedDropout(nn.Module):
    def __init__(self):
        super().__init__()

    def forward(self, x, dropout=0.5):
        if not self.training or not dropout:
            return x
        m = x.data.new(1, x.size(1), x.size(2)).bernoulli_(1 - dropout)
        mask = m / (1 - dropout)
        mask = mask.expand_as(x)
        return mask * x


def embedded_dropout(embed, words, dropout=0.1, scale=None):
    if dropout:
        mask = embed.weight.data.new().resize_((embed.weight.size(0), 1)).bernoulli_(1 - dropout).expand_as(embed.weight) / (1 - dropout)
        masked_embed_weight = mask * embed.weight
    else:
        masked_embed_weight = embed.weight
    X = F.embedding(words, masked_embed_weight)
    return X


@written(short(20))
class AWD_LSTM(nn.Module):
    """salesforce/awd-lstm-lm, its recurrent weights dropped"""
    class Layer(nn.Module):
        def __init__(self, i, h):
            super().__init__()
            self.weight_ih_l0, self.weight_hh_l0, self.bias_ih_l0, self.bias_hh_l0 = nn.Parameter(torch.zeros(4 * h, i)), nn.Parameter(torch.zeros(4 * h, h)), nn.Parameter(torch.zeros(4 * h)), nn.Parameter(torch.zeros(4 * h))

    def __init__(self, ntoken=1000, ninp=100, nhid=200, nlayers=3):
        super().__init__()
        self.lockdrop, self.drop = LockedDropout(), nn.Dropout(0.5)
        self.encoder = nn.Embedding(ntoken, ninp)
        self.rnns = nn.ModuleList([AWD_LSTM.Layer(ninp if l == 0 else nhid, nhid if l != nlayers - 1 else ninp) for l in range(nlayers)])
        self.decoder = nn.Linear(ninp, ntoken)
        self.decoder.weight = self.encoder.weight
        self.ninp, self.nhid, self.nlayers, self.dropouti, self.dropouth, self.wdrop, self.alpha, self.beta = ninp, nhid, nlayers, 0.65, 0.3, 0.5, 2, 1

    def init_hidden(self, bsz):
        weight = next(self.parameters()).data
        return [(weight.new(bsz, self.nhid if l != self.nlayers - 1 else self.ninp).zero_(), weight.new(bsz, self.nhid if l != self.nlayers - 1 else self.ninp).zero_()) for l in range(self.nlayers)]

    def weight_drop(self, rnn, x, hx):
        w = F.dropout(rnn.weight_hh_l0, p=self.wdrop, training=self.training)
        h, c = hx
        out = []
        for t in range(x.size(0)):
            gates = F.linear(x[t], rnn.weight_ih_l0, rnn.bias_ih_l0) + F.linear(h, w, rnn.bias_hh_l0)
            ingate, forgetgate, cellgate, outgate = gates.chunk(4, 1)
            ingate, forgetgate, cellgate, outgate = ingate.sigmoid(), forgetgate.sigmoid(), cellgate.tanh(), outgate.sigmoid()
            c = (forgetgate * c) + (ingate * cellgate)
            h = outgate * c.tanh()
            out.append(h)
        return torch.stack(out), h, c

    def forward(self, idx, targets):
        input, hidden = idx.t(), self.init_hidden(idx.size(0))
        emb = embedded_dropout(self.encoder, input, dropout=0.1 if self.training else 0)
        emb = self.lockdrop(emb, self.dropouti)
        raw_output = emb
        raw_outputs, outputs = [], []
        for l, rnn in enumerate(self.rnns):
            raw_output, _, _ = self.weight_drop(rnn, raw_output, hidden[l])
            raw_outputs.append(raw_output)
            if l != self.nlayers - 1:
                raw_output = self.lockdrop(raw_output, self.dropouth)
                outputs.append(raw_output)
        output = self.lockdrop(raw_output, 0.4)
        outputs.append(output)
        result = self.decoder(output.view(output.size(0) * output.size(1), output.size(2)))
        raw_loss = F.cross_entropy(result, targets.t().reshape(-1))
        loss = raw_loss
        loss = loss + sum(self.alpha * dropped_rnn_h.pow(2).mean() for dropped_rnn_h in outputs[-1:])
        loss = loss + sum(self.beta * (rnn_h[1:] - rnn_h[:-1]).pow(2).mean() for rnn_h in raw_outputs[-1:])
        return loss


@written(short(24))
class WordLM(nn.Module):
    """examples/word_language_model with an LSTM"""
    def __init__(self, ntoken=2000, ninp=128, nhid=128, nlayers=2, dropout=0.2):
        super().__init__()
        self.ntoken = ntoken
        self.drop = nn.Dropout(dropout)
        self.encoder = nn.Embedding(ntoken, ninp)
        self.rnn = LSTM(ninp, nhid, nlayers, dropout=dropout)
        self.decoder = nn.Linear(nhid, ntoken)
        self.decoder.weight = self.encoder.weight
        self.nhid, self.nlayers = nhid, nlayers

    def forward(self, idx, targets):
        weight = next(self.parameters())
        hidden = (weight.new_zeros(self.nlayers, idx.size(0), self.nhid), weight.new_zeros(self.nlayers, idx.size(0), self.nhid))
        emb = self.drop(self.encoder(idx.t()))
        output, hidden = self.rnn(emb, hidden)
        output = self.drop(output)
        decoded = self.decoder(output)
        decoded = decoded.view(-1, self.ntoken)
        return F.nll_loss(F.log_softmax(decoded, dim=1), targets.t().reshape(-1))


@written(ids)
class TransformerXL(nn.Module):
    """kimiyoung/transformer-xl, no memory"""
    class RelPartial(nn.Module):
        def __init__(self, n_head=4, d_model=128, d_head=32, d_inner=256, dropout=0.1):
            super().__init__()
            self.n_head, self.d_head, self.scale = n_head, d_head, 1 / (d_head ** 0.5)
            self.qkv_net = nn.Linear(d_model, 3 * n_head * d_head, bias=False)
            self.drop, self.dropatt = nn.Dropout(dropout), nn.Dropout(dropout)
            self.o_net = nn.Linear(n_head * d_head, d_model, bias=False)
            self.r_net = nn.Linear(d_model, n_head * d_head, bias=False)
            self.layer_norm, self.ff_norm = nn.LayerNorm(d_model), nn.LayerNorm(d_model)
            self.CoreNet = nn.Sequential(nn.Linear(d_model, d_inner), nn.ReLU(inplace=True), nn.Dropout(dropout), nn.Linear(d_inner, d_model), nn.Dropout(dropout))

        def _rel_shift(self, x):
            zero_pad = torch.zeros((x.size(0), 1, *x.size()[2:]), device=x.device, dtype=x.dtype)
            x_padded = torch.cat([zero_pad, x], dim=1)
            x_padded = x_padded.view(x.size(1) + 1, x.size(0), *x.size()[2:])
            x = x_padded[1:].view_as(x)
            return x

        def forward(self, w, r, r_w_bias, r_r_bias, attn_mask):
            qlen, rlen, bsz = w.size(0), r.size(0), w.size(1)
            w_heads = self.qkv_net(w)
            r_head_k = self.r_net(r)
            w_head_q, w_head_k, w_head_v = torch.chunk(w_heads, 3, dim=-1)
            klen = w_head_k.size(0)
            w_head_q = w_head_q.view(qlen, bsz, self.n_head, self.d_head)
            w_head_k = w_head_k.view(klen, bsz, self.n_head, self.d_head)
            w_head_v = w_head_v.view(klen, bsz, self.n_head, self.d_head)
            r_head_k = r_head_k.view(rlen, self.n_head, self.d_head)
            rw_head_q = w_head_q + r_w_bias
            AC = torch.einsum('ibnd,jbnd->ijbn', (rw_head_q, w_head_k))
            rr_head_q = w_head_q + r_r_bias
            BD = torch.einsum('ibnd,jnd->ijbn', (rr_head_q, r_head_k))
            BD = self._rel_shift(BD)
            attn_score = AC + BD
            attn_score.mul_(self.scale)
            attn_score = attn_score.masked_fill(attn_mask[:, :, None, None], -float('inf')).type_as(attn_score)
            attn_prob = F.softmax(attn_score, dim=1)
            attn_prob = self.dropatt(attn_prob)
            attn_vec = torch.einsum('ijbn,jbnd->ibnd', (attn_prob, w_head_v))
            attn_vec = attn_vec.contiguous().view(attn_vec.size(0), attn_vec.size(1), self.n_head * self.d_head)
            attn_out = self.o_net(attn_vec)
            attn_out = self.drop(attn_out)
            output = self.layer_norm(w + attn_out)
            core_out = self.CoreNet(output)
            return self.ff_norm(output + core_out)

    def __init__(self):
        super().__init__()
        self.word_emb, self.drop = nn.Embedding(1000, 128), nn.Dropout(0.1)
        self.register_buffer('inv_freq', 1 / (10000 ** (torch.arange(0.0, 128, 2.0) / 128)))
        self.r_w_bias, self.r_r_bias = nn.Parameter(torch.Tensor(4, 32)), nn.Parameter(torch.Tensor(4, 32))
        self.layers = nn.ModuleList([TransformerXL.RelPartial() for _ in range(2)])
        self.out = nn.Linear(128, 1000)

    def forward(self, idx, targets):
        qlen = idx.size(1)
        word_emb = self.word_emb(idx.t()) * 128 ** 0.5
        dec_attn_mask = torch.triu(word_emb.new_ones(qlen, qlen), diagonal=1).bool()
        pos_seq = torch.arange(qlen - 1, -1, -1.0, device=word_emb.device, dtype=word_emb.dtype)
        sinusoid_inp = torch.outer(pos_seq, self.inv_freq)
        pos_emb = torch.cat([sinusoid_inp.sin(), sinusoid_inp.cos()], dim=-1)
        core_out = self.drop(word_emb)
        pos_emb = self.drop(pos_emb)
        for layer in self.layers:
            core_out = layer(core_out, pos_emb, self.r_w_bias, self.r_r_bias, dec_attn_mask)
        hidden = self.drop(core_out)
        logit = self.out(hidden.view(-1, hidden.size(-1)))
        nll = -F.log_softmax(logit, dim=-1).gather(1, targets.t().reshape(-1, 1)).squeeze(1)
        return nll.view(qlen, -1).float().mean().type_as(nll)


class T5LayerNorm(nn.Module):
    def __init__(self, hidden_size, eps=1e-6):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(hidden_size))
        self.variance_epsilon = eps

    def forward(self, hidden_states):
        variance = hidden_states.to(torch.float32).pow(2).mean(-1, keepdim=True)
        hidden_states = hidden_states * torch.rsqrt(variance + self.variance_epsilon)
        if self.weight.dtype in [torch.float16, torch.bfloat16]:
            hidden_states = hidden_states.to(self.weight.dtype)
        return self.weight * hidden_states


@written(lambda b, n, device: dict(input_ids=ints(b, n, device=device), labels=ints(b, 48, device=device)))
class T5Written(nn.Module):
    """encoder and decoder, relative buckets, weights shared three ways"""
    class Attn(nn.Module):
        def __init__(self, d=128, heads=4, has_bias=False, bidirectional=True):
            super().__init__()
            self.n_heads, self.dim, self.bidirectional = heads, d // heads, bidirectional
            self.q, self.k, self.v, self.o = nn.Linear(d, d, bias=False), nn.Linear(d, d, bias=False), nn.Linear(d, d, bias=False), nn.Linear(d, d, bias=False)
            if has_bias: self.relative_attention_bias = nn.Embedding(32, heads)

        def bucket(self, relative_position, num_buckets=32, max_distance=128):
            ret = 0
            n = -relative_position
            if self.bidirectional:
                num_buckets //= 2
                ret += (n < 0).to(torch.long) * num_buckets
                n = torch.abs(n)
            else:
                n = torch.max(n, torch.zeros_like(n))
            max_exact = num_buckets // 2
            is_small = n < max_exact
            val_if_large = max_exact + (torch.log(n.float() / max_exact) / math.log(max_distance / max_exact) * (num_buckets - max_exact)).to(torch.long)
            val_if_large = torch.min(val_if_large, torch.full_like(val_if_large, num_buckets - 1))
            ret += torch.where(is_small, n, val_if_large)
            return ret

        def compute_bias(self, qlen, klen, device):
            context_position = torch.arange(qlen, dtype=torch.long, device=device)[:, None]
            memory_position = torch.arange(klen, dtype=torch.long, device=device)[None, :]
            rp_bucket = self.bucket(memory_position - context_position)
            values = self.relative_attention_bias(rp_bucket)
            return values.permute([2, 0, 1]).unsqueeze(0)

        def forward(self, input, mask=None, kv=None, position_bias=None):
            bs, qlen, _ = input.size()
            kv = input if kv is None else kv

            def shape(x): return x.view(bs, -1, self.n_heads, self.dim).transpose(1, 2)
            q, k, v = shape(self.q(input)), shape(self.k(kv)), shape(self.v(kv))
            scores = torch.einsum("bnqd,bnkd->bnqk", q, k)
            if position_bias is None and hasattr(self, "relative_attention_bias"):
                position_bias = self.compute_bias(qlen, kv.size(1), input.device)
                if mask is not None:
                    position_bias = position_bias + mask
            if position_bias is not None: scores += position_bias
            weights = F.softmax(scores.float(), dim=-1).type_as(scores)
            weights = F.dropout(weights, p=0.1, training=self.training)
            context = torch.matmul(weights, v)
            context = context.transpose(1, 2).contiguous().view(bs, -1, self.n_heads * self.dim)
            return self.o(context), position_bias

    class Block(nn.Module):
        def __init__(self, first, decoder):
            super().__init__()
            self.sa, self.n1 = T5Written.Attn(has_bias=first, bidirectional=not decoder), T5LayerNorm(128)
            if decoder: self.ca, self.n2 = T5Written.Attn(), T5LayerNorm(128)
            self.wi, self.wo, self.n3, self.dropout = nn.Linear(128, 512, bias=False), nn.Linear(512, 128, bias=False), T5LayerNorm(128), nn.Dropout(0.1)

        def forward(self, x, mask, bias, memory=None):
            h, bias = self.sa(self.n1(x), mask, None, bias)
            x = x + self.dropout(h)
            if memory is not None:
                h, _ = self.ca(self.n2(x), kv=memory)
                x = x + self.dropout(h)
            h = self.wo(self.dropout(F.relu(self.wi(self.n3(x)))))
            return x + self.dropout(h), bias

    def __init__(self):
        super().__init__()
        self.shared = nn.Embedding(1000, 128)
        self.encoder = nn.ModuleList([T5Written.Block(i == 0, False) for i in range(2)])
        self.decoder = nn.ModuleList([T5Written.Block(i == 0, True) for i in range(2)])
        self.enc_norm, self.dec_norm, self.drop = T5LayerNorm(128), T5LayerNorm(128), nn.Dropout(0.1)
        self.lm_head = nn.Linear(128, 1000, bias=False)
        self.lm_head.weight = self.shared.weight

    def _shift_right(self, input_ids):
        shifted = input_ids.new_zeros(input_ids.shape)
        shifted[..., 1:] = input_ids[..., :-1].clone()
        shifted[..., 0] = 0
        shifted.masked_fill_(shifted == -100, 0)
        return shifted

    def forward(self, input_ids, labels):
        x, bias = self.drop(self.shared(input_ids)), None
        for block in self.encoder: x, bias = block(x, None, bias)
        memory = self.drop(self.enc_norm(x))
        x, bias = self.drop(self.shared(self._shift_right(labels))), None
        t = labels.size(1)
        mask = torch.full((t, t), -1e9, device=x.device, dtype=x.dtype).triu_(1)[None, None]
        for block in self.decoder: x, bias = block(x, mask, bias, memory)
        sequence_output = self.drop(self.dec_norm(x)) * (128 ** -0.5)
        lm_logits = self.lm_head(sequence_output)
        return F.cross_entropy(lm_logits.view(-1, lm_logits.size(-1)), labels.view(-1), ignore_index=-100)


@written(ids)
class ALiBi(nn.Module):
    class Layer(nn.Module):
        def __init__(self, d_model=128, num_heads=8):
            super().__init__()
            self.num_heads, self.scale = num_heads, math.sqrt(d_model // num_heads)
            self.register_buffer("m", torch.tensor([[2 ** -(8 / num_heads * (i + 1))] for i in range(num_heads)]).unsqueeze(-1))
            self.kqv, self.dropout, self.proj = nn.Linear(d_model, 3 * d_model, bias=False), nn.Dropout(0.1), nn.Linear(d_model, d_model)
            self.register_buffer("mask", torch.tril(torch.ones(1, 1, 512, 512)))
            self.ln1, self.ln2 = nn.LayerNorm(d_model), nn.LayerNorm(d_model)
            self.ffn_norm = nn.Sequential(OrderedDict([("up", nn.Linear(d_model, 4 * d_model)), ("act", nn.GELU(approximate="tanh")), ("down", nn.Linear(4 * d_model, d_model)), ("drop", nn.Dropout(0.1))]))

        def attention(self, x):
            batch_size, seq_len, _ = x.shape
            key, query, value = self.kqv(x).chunk(3, dim=-1)
            key = key.view(batch_size, seq_len, self.num_heads, -1).permute(0, 2, 3, 1)
            query = query.view(batch_size, seq_len, self.num_heads, -1).transpose(1, 2)
            value = value.view(batch_size, seq_len, self.num_heads, -1).transpose(1, 2)
            i = torch.arange(seq_len, device=x.device)
            bias = (self.m * (i[None, :] - i[:, None])).unsqueeze(0)
            score = torch.matmul(query, key) / self.scale + bias
            score = score.masked_fill(self.mask[:, :, :seq_len, :seq_len] == 0, float("-inf"))
            attn = F.softmax(score, dim=-1)
            out = torch.matmul(attn, value)
            out = out.transpose(1, 2).reshape(batch_size, seq_len, -1)
            return self.dropout(self.proj(out))

        def forward(self, x):
            x = x + self.attention(self.ln1(x))
            x = x + self.ffn_norm(self.ln2(x))
            return x

    def __init__(self):
        super().__init__()
        self.emb, self.layers, self.norm = nn.Embedding(1000, 128), nn.Sequential(*(ALiBi.Layer() for _ in range(2))), nn.LayerNorm(128)
        self.head = nn.Linear(128, 1000)

    def forward(self, idx, targets):
        logits = self.head(self.norm(self.layers(self.emb(idx))))
        return F.cross_entropy(rearrange(logits, "b n c -> b c n"), targets)


@written(short(24))
class RWKV(nn.Module):
    """RWKV 4, the loop over time of the inference code"""
    class TimeMix(nn.Module):
        def __init__(self, n_embd):
            super().__init__()
            self.time_decay, self.time_first = nn.Parameter(torch.empty(n_embd)), nn.Parameter(torch.empty(n_embd))
            self.time_shift = nn.ZeroPad2d((0, 0, 1, -1))
            self.time_mix_k, self.time_mix_v, self.time_mix_r = (nn.Parameter(torch.empty(1, 1, n_embd)) for _ in range(3))
            self.key, self.value, self.receptance, self.output = (nn.Linear(n_embd, n_embd, bias=False) for _ in range(4))

        def wkv(self, w, u, k, v):
            w = -torch.exp(w)
            B, T, C = k.shape
            aa, bb = torch.zeros_like(k[:, 0]), torch.zeros_like(k[:, 0])
            pp = torch.full_like(k[:, 0], -1e38)
            out = []
            for t in range(T):
                kk, vv = k[:, t], v[:, t]
                ww = u + kk
                p = torch.maximum(pp, ww)
                e1 = torch.exp(pp - p)
                e2 = torch.exp(ww - p)
                a = e1 * aa + e2 * vv
                b = e1 * bb + e2
                out.append(a / b)
                ww = w + pp
                p = torch.maximum(ww, kk)
                e1 = torch.exp(ww - p)
                e2 = torch.exp(kk - p)
                aa = e1 * aa + e2 * vv
                bb = e1 * bb + e2
                pp = p
            return torch.stack(out, dim=1)

        def forward(self, x):
            xx = self.time_shift(x)
            xk = x * self.time_mix_k + xx * (1 - self.time_mix_k)
            xv = x * self.time_mix_v + xx * (1 - self.time_mix_v)
            xr = x * self.time_mix_r + xx * (1 - self.time_mix_r)
            k, v, r = self.key(xk), self.value(xv), self.receptance(xr)
            sr = torch.sigmoid(r)
            rwkv = sr * self.wkv(self.time_decay, self.time_first, k, v)
            return self.output(rwkv)

    class ChannelMix(nn.Module):
        def __init__(self, n_embd):
            super().__init__()
            self.time_shift = nn.ZeroPad2d((0, 0, 1, -1))
            self.time_mix_k, self.time_mix_r = nn.Parameter(torch.empty(1, 1, n_embd)), nn.Parameter(torch.empty(1, 1, n_embd))
            self.key, self.receptance, self.value = nn.Linear(n_embd, 4 * n_embd, bias=False), nn.Linear(n_embd, n_embd, bias=False), nn.Linear(4 * n_embd, n_embd, bias=False)

        def forward(self, x):
            xx = self.time_shift(x)
            xk = x * self.time_mix_k + xx * (1 - self.time_mix_k)
            xr = x * self.time_mix_r + xx * (1 - self.time_mix_r)
            k = self.key(xk)
            k = torch.square(torch.relu(k))
            kv = self.value(k)
            return torch.sigmoid(self.receptance(xr)) * kv

    def __init__(self):
        super().__init__()
        self.emb, self.ln0 = nn.Embedding(1000, 128), nn.LayerNorm(128)
        self.att, self.ffn = nn.ModuleList([RWKV.TimeMix(128) for _ in range(2)]), nn.ModuleList([RWKV.ChannelMix(128) for _ in range(2)])
        self.ln1, self.ln2 = nn.ModuleList([nn.LayerNorm(128) for _ in range(2)]), nn.ModuleList([nn.LayerNorm(128) for _ in range(2)])
        self.ln_out, self.head = nn.LayerNorm(128), nn.Linear(128, 1000, bias=False)

    def forward(self, idx, targets):
        x = self.ln0(self.emb(idx))
        for i in range(2):
            x = x + self.att[i](self.ln1[i](x))
            x = x + self.ffn[i](self.ln2[i](x))
        x = self.head(self.ln_out(x))
        return F.cross_entropy(x.view(-1, x.size(-1)), targets.view(-1))


@written(ids)
class RetNet(nn.Module):
    """the parallel form: decay as a mask, group norm over heads, swish gate"""
    class Retention(nn.Module):
        def __init__(self, embed_dim=128, num_heads=4):
            super().__init__()
            self.num_heads, self.key_dim, self.scaling = num_heads, embed_dim // num_heads, (embed_dim // num_heads) ** -0.5
            self.q_proj, self.k_proj, self.v_proj = nn.Linear(embed_dim, embed_dim, bias=False), nn.Linear(embed_dim, embed_dim, bias=False), nn.Linear(embed_dim, 2 * embed_dim, bias=False)
            self.g_proj, self.out_proj = nn.Linear(embed_dim, 2 * embed_dim, bias=False), nn.Linear(2 * embed_dim, embed_dim, bias=False)
            self.group_norm = nn.LayerNorm(2 * embed_dim // num_heads, elementwise_affine=False)

        @staticmethod
        def rotate_every_two(x):
            x1 = x[:, :, :, ::2]
            x2 = x[:, :, :, 1::2]
            x = torch.stack((-x2, x1), dim=-1)
            return x.flatten(-2)

        def forward(self, x, rel_pos):
            bsz, tgt_len, embed_dim = x.size()
            (sin, cos), inner_mask = rel_pos
            q, k, v, g = self.q_proj(x), self.k_proj(x), self.v_proj(x), self.g_proj(x)
            k *= self.scaling
            q = q.view(bsz, tgt_len, self.num_heads, self.key_dim).transpose(1, 2)
            k = k.view(bsz, tgt_len, self.num_heads, self.key_dim).transpose(1, 2)
            qr = (q * cos) + (self.rotate_every_two(q) * sin)
            kr = (k * cos) + (self.rotate_every_two(k) * sin)
            vr = v.view(bsz, tgt_len, self.num_heads, -1).transpose(1, 2)
            qk_mat = qr @ kr.transpose(-1, -2)
            qk_mat = qk_mat * inner_mask
            qk_mat = qk_mat / qk_mat.detach().abs().sum(dim=-1, keepdim=True).clamp(min=1, max=5e4)
            output = torch.matmul(qk_mat, vr)
            output = output.transpose(1, 2)
            output = self.group_norm(output).reshape(bsz, tgt_len, -1)
            output = F.silu(g) * output
            return self.out_proj(output)

    class GLU(nn.Module):
        def __init__(self, d=128, h=256):
            super().__init__()
            self.fc1, self.gate, self.fc2 = nn.Linear(d, h, bias=False), nn.Linear(d, h, bias=False), nn.Linear(h, d, bias=False)

        def forward(self, x):
            x_shape = x.shape
            x = x.reshape(-1, x.size(-1))
            g = self.gate(x)
            x = self.fc1(x)
            x = F.silu(x.float()).type_as(x) * g
            x = F.dropout(x, 0.1, self.training)
            x = self.fc2(x)
            return x.view(x_shape)

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(1000, 128)
        angle = 1.0 / (10000 ** torch.linspace(0, 1, 16))
        self.register_buffer("angle", angle.unsqueeze(-1).repeat(1, 2).flatten())
        self.register_buffer("decay", torch.log(1 - 2 ** (-5 - torch.arange(4, dtype=torch.float))))
        self.layers = nn.ModuleList([nn.ModuleDict(dict(ret=RetNet.Retention(), ffn=RetNet.GLU(), n1=nn.LayerNorm(128), n2=nn.LayerNorm(128))) for _ in range(2)])
        self.out = nn.Linear(128, 1000, bias=False)

    def forward(self, idx, targets):
        x = self.embed(idx)
        slen = idx.size(1)
        index = torch.arange(slen).to(self.decay)
        sin = torch.sin(index[:, None] * self.angle[None, :])
        cos = torch.cos(index[:, None] * self.angle[None, :])
        mask = torch.tril(torch.ones(slen, slen).to(self.decay))
        mask = torch.masked_fill(index[:, None] - index[None, :], ~mask.bool(), float("inf"))
        mask = torch.exp(mask * self.decay[:, None, None])
        mask = torch.nan_to_num(mask)
        scale = mask.sum(dim=-1, keepdim=True).sqrt()
        mask = mask / scale
        for l in self.layers:
            x = x + l["ret"](l["n1"](x), ((sin, cos), mask))
            x = x + l["ffn"](l["n2"](x))
        return F.cross_entropy(self.out(x).flatten(0, 1), targets.flatten())


@written(short(24))
class MambaMinimal(nn.Module):
    """johnma2006/mamba-minimal"""
    class Block(nn.Module):
        def __init__(self, d_model=96, d_inner=192, d_state=16, dt_rank=6, d_conv=4):
            super().__init__()
            self.d_inner, self.dt_rank, self.d_state = d_inner, dt_rank, d_state
            self.in_proj = nn.Linear(d_model, d_inner * 2, bias=False)
            self.conv1d = nn.Conv1d(in_channels=d_inner, out_channels=d_inner, bias=True, kernel_size=d_conv, groups=d_inner, padding=d_conv - 1)
            self.x_proj = nn.Linear(d_inner, dt_rank + d_state * 2, bias=False)
            self.dt_proj = nn.Linear(dt_rank, d_inner, bias=True)
            A = repeat(torch.arange(1, d_state + 1), 'n -> d n', d=d_inner)
            self.A_log = nn.Parameter(torch.log(A))
            self.D = nn.Parameter(torch.ones(d_inner))
            self.out_proj = nn.Linear(d_inner, d_model, bias=False)

        def forward(self, x):
            (b, l, d) = x.shape
            x_and_res = self.in_proj(x)
            (x, res) = x_and_res.split(split_size=[self.d_inner, self.d_inner], dim=-1)
            x = rearrange(x, 'b l d_in -> b d_in l')
            x = self.conv1d(x)[:, :, :l]
            x = rearrange(x, 'b d_in l -> b l d_in')
            x = F.silu(x)
            y = self.ssm(x)
            y = y * F.silu(res)
            return self.out_proj(y)

        def ssm(self, x):
            (d_in, n) = self.A_log.shape
            A = -torch.exp(self.A_log.float())
            D = self.D.float()
            x_dbl = self.x_proj(x)
            (delta, B, C) = x_dbl.split(split_size=[self.dt_rank, n, n], dim=-1)
            delta = F.softplus(self.dt_proj(delta))
            return self.selective_scan(x, delta, A, B, C, D)

        def selective_scan(self, u, delta, A, B, C, D):
            (b, l, d_in) = u.shape
            n = A.shape[1]
            deltaA = torch.exp(torch.einsum('bld,dn->bldn', delta.to(A), A))
            deltaB_u = torch.einsum('bld,bln,bld->bldn', delta, B, u)
            x = torch.zeros((b, d_in, n), device=deltaA.device)
            ys = []
            for i in range(l):
                x = deltaA[:, i] * x + deltaB_u[:, i]
                y = torch.einsum('bdn,bn->bd', x, C[:, i, :].to(x))
                ys.append(y)
            y = torch.stack(ys, dim=1)
            y = y + u * D
            return y.to(u)

    class RMS(nn.Module):
        def __init__(self, d_model, eps=1e-5):
            super().__init__()
            self.eps, self.weight = eps, nn.Parameter(torch.ones(d_model))

        def forward(self, x):
            output = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps) * self.weight
            return output

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(1000, 96)
        self.layers, self.norms = nn.ModuleList([MambaMinimal.Block() for _ in range(2)]), nn.ModuleList([MambaMinimal.RMS(96) for _ in range(2)])
        self.norm_f, self.lm_head = MambaMinimal.RMS(96), nn.Linear(96, 1000, bias=False)
        self.lm_head.weight = self.embedding.weight

    def forward(self, idx, targets):
        x = self.embedding(idx)
        for mixer, norm in zip(self.layers, self.norms):
            x = mixer(norm(x)) + x
        x = self.norm_f(x)
        logits = self.lm_head(x)
        return F.cross_entropy(logits.view(-1, 1000), targets.view(-1))


@written(ids)
class Performer(nn.Module):
    """FAVOR+ as lucidrains writes it, not causal"""
    class FastAttention(nn.Module):
        def __init__(self, dim_heads=32, nb_features=64):
            super().__init__()
            self.nb_features = nb_features
            self.register_buffer('projection_matrix', torch.randn(nb_features, dim_heads))

        def softmax_kernel(self, data, *, is_query, eps=1e-4):
            b, h, *_ = data.shape
            projection_matrix = self.projection_matrix
            data_normalizer = (data.shape[-1] ** -0.25)
            ratio = (projection_matrix.shape[0] ** -0.5)
            projection = repeat(projection_matrix, 'j d -> b h j d', b=b, h=h)
            projection = projection.type_as(data)
            data_dash = torch.einsum('...id,...jd->...ij', (data_normalizer * data), projection)
            diag_data = data ** 2
            diag_data = torch.sum(diag_data, dim=-1)
            diag_data = (diag_data / 2.0) * (data_normalizer ** 2)
            diag_data = diag_data.unsqueeze(dim=-1)
            if is_query:
                data_dash = ratio * (torch.exp(data_dash - diag_data - torch.amax(data_dash, dim=-1, keepdim=True).detach()) + eps)
            else:
                data_dash = ratio * (torch.exp(data_dash - diag_data - torch.amax(data_dash, dim=(-1, -2), keepdim=True).detach()) + eps)
            return data_dash.type_as(data)

        def forward(self, q, k, v):
            q = self.softmax_kernel(q, is_query=True)
            k = self.softmax_kernel(k, is_query=False)
            k_cumsum = k.sum(dim=-2)
            D_inv = 1. / torch.einsum('...nd,...d->...n', q, k_cumsum.type_as(q))
            context = torch.einsum('...nd,...ne->...de', k, v)
            out = torch.einsum('...de,...nd,...n->...ne', context, q, D_inv)
            return out

    class PreLayerNorm(nn.Module):
        def __init__(self, dim, fn):
            super().__init__()
            self.norm, self.fn = nn.LayerNorm(dim), fn

        def forward(self, x, **kwargs): return self.fn(self.norm(x), **kwargs)

    class SelfAttention(nn.Module):
        def __init__(self, dim=128, heads=4):
            super().__init__()
            self.fast_attention, self.heads = Performer.FastAttention(), heads
            self.to_q, self.to_k, self.to_v, self.to_out = nn.Linear(dim, dim, bias=False), nn.Linear(dim, dim, bias=False), nn.Linear(dim, dim, bias=False), nn.Linear(dim, dim)
            self.dropout = nn.Dropout(0.1)

        def forward(self, x):
            q, k, v = self.to_q(x), self.to_k(x), self.to_v(x)
            q, k, v = map(lambda t: rearrange(t, 'b n (h d) -> b h n d', h=self.heads), (q, k, v))
            out = self.fast_attention(q, k, v)
            out = rearrange(out, 'b h n d -> b n (h d)')
            return self.dropout(self.to_out(out))

    class FeedForward(nn.Module):
        def __init__(self, dim=128, mult=4):
            super().__init__()
            self.w1, self.act, self.dropout, self.w2 = nn.Linear(dim, dim * mult * 2), nn.GELU(), nn.Dropout(0.1), nn.Linear(dim * mult, dim)

        def forward(self, x, **kwargs):
            x, v = self.w1(x).chunk(2, dim=-1)
            x = self.act(x) * v
            x = self.dropout(x)
            x = self.w2(x)
            return x

    def __init__(self):
        super().__init__()
        self.token_emb, self.pos_emb = nn.Embedding(1000, 128), nn.Embedding(512, 128)
        self.layers = nn.ModuleList([nn.ModuleList([Performer.PreLayerNorm(128, Performer.SelfAttention()), Performer.PreLayerNorm(128, Performer.FeedForward())]) for _ in range(2)])
        self.norm, self.to_out = nn.LayerNorm(128), nn.Linear(128, 1000)

    def forward(self, idx, targets):
        x = self.token_emb(idx)
        x += self.pos_emb(torch.arange(idx.shape[1], device=idx.device))[None]
        for f, g in self.layers:
            x = x + f(x)
            x = x + g(x)
        out = self.to_out(self.norm(x))
        return F.cross_entropy(out.transpose(1, 2), targets)


@written(lambda b, n, device: dict(x=ints(b, 256, device=device), y=ints(b, device=device)))
class Linformer(nn.Module):
    class Attention(nn.Module):
        def __init__(self, dim=128, seq_len=256, k=64, heads=4):
            super().__init__()
            self.heads, self.seq_len = heads, seq_len
            self.to_q, self.to_k, self.to_v, self.to_out = (nn.Linear(dim, dim, bias=False) for _ in range(4))
            self.proj_k, self.proj_v = nn.Parameter(torch.zeros(seq_len, k)), nn.Parameter(torch.zeros(seq_len, k))

        def forward(self, x):
            b, n, d = x.shape
            h, d_h = self.heads, d // self.heads
            queries, keys, values = self.to_q(x), self.to_k(x), self.to_v(x)
            proj_seq_len = lambda args: torch.einsum('bnd,nk->bkd', *args)
            keys, values = map(proj_seq_len, zip((keys, values), (self.proj_k, self.proj_v)))
            k = keys.shape[1]
            queries = queries.reshape(b, n, h, -1).transpose(1, 2)
            merge_key_values = lambda t: t.reshape(b, k, -1, d_h).transpose(1, 2).expand(-1, h, -1, -1)
            keys, values = map(merge_key_values, (keys, values))
            dots = torch.einsum('bhnd,bhkd->bhnk', queries, keys) * (d_h ** -0.5)
            attn = dots.softmax(dim=-1)
            attn = F.dropout(attn, 0.1, self.training)
            out = torch.einsum('bhnk,bhkd->bhnd', attn, values)
            out = out.transpose(1, 2).reshape(b, n, -1)
            return self.to_out(out)

    def __init__(self):
        super().__init__()
        self.emb, self.pos = nn.Embedding(1000, 128), nn.Parameter(torch.randn(256, 128))
        self.net = nn.ModuleList([nn.ModuleList([nn.LayerNorm(128), Linformer.Attention(), nn.LayerNorm(128), nn.Sequential(nn.Linear(128, 512), nn.GELU(), nn.Dropout(0.1), nn.Linear(512, 128))]) for _ in range(2)])
        self.head = nn.Linear(128, 10)

    def forward(self, x, y):
        x = self.emb(x) + self.pos
        for n1, attn, n2, ff in self.net:
            x = attn(n1(x)) + x
            x = ff(n2(x)) + x
        return F.cross_entropy(self.head(x.max(dim=1).values), y)


@written(lambda b, n, device: dict(idx=ints(b, 256, device=device), targets=ints(b, 256, device=device)))
class LocalWindows(nn.Module):
    """lucidrains/local-attention: buckets that look around, half of the heads full and half local"""
    class LocalAttention(nn.Module):
        def __init__(self, window_size=32, look_backward=1):
            super().__init__()
            self.window_size, self.look_backward = window_size, look_backward

        def look_around(self, x, pad_value=-1):
            t = x.shape[1]
            dims = (len(x.shape) - 2) * (0, 0)
            padded_x = F.pad(x, (*dims, self.look_backward, 0), value=pad_value)
            tensors = [padded_x[:, ind:(ind + t), ...] for ind in range(self.look_backward + 1)]
            return torch.cat(tensors, dim=2)

        def forward(self, q, k, v):
            b, h, n, d = q.shape
            q, k, v = map(lambda t: t.reshape(b * h, n, d), (q, k, v))
            windows = n // self.window_size
            b_n = torch.arange(n, device=q.device).view(1, windows, self.window_size)
            bucket_fn = lambda t: t.reshape(t.shape[0], windows, self.window_size, -1)
            bq, bk, bv = map(bucket_fn, (q * d ** -0.5, k, v))
            bk, bv = map(lambda t: self.look_around(t), (bk, bv))
            bq_t, bq_k = b_n, self.look_around(b_n)
            dots = torch.einsum('bhie,bhje->bhij', bq, bk)
            mask_value = -torch.finfo(dots.dtype).max
            mask = bq_t[:, :, :, None] < bq_k[:, :, None, :]
            dots.masked_fill_(mask, mask_value)
            mask = bq_k[:, :, None, :] == -1
            dots.masked_fill_(mask, mask_value)
            attn = dots.softmax(dim=-1)
            attn = F.dropout(attn, 0.1, self.training)
            out = torch.einsum('bhij,bhje->bhie', attn, bv)
            return out.reshape(b, h, n, d)

    def __init__(self, dim=128, heads=8):
        super().__init__()
        self.emb, self.heads = nn.Embedding(1000, dim), heads
        self.to_qkv, self.to_out = nn.ModuleList([nn.Linear(dim, dim * 3, bias=False) for _ in range(2)]), nn.ModuleList([nn.Linear(dim, dim, bias=False) for _ in range(2)])
        self.norms, self.local, self.logits = nn.ModuleList([nn.LayerNorm(dim) for _ in range(2)]), LocalWindows.LocalAttention(), nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, 1000))

    def forward(self, idx, targets):
        x = self.emb(idx)
        for norm, to_qkv, to_out in zip(self.norms, self.to_qkv, self.to_out):
            q, k, v = map(lambda t: rearrange(t, 'b n (h d) -> b h n d', h=self.heads), to_qkv(norm(x)).chunk(3, dim=-1))
            (q, lq), (k, lk), (v, lv) = ((t[:, :4], t[:, 4:]) for t in (q, k, v))
            sim = einsum('b h i d, b h j d -> b h i j', q, k) * 16 ** -0.5
            i, j = sim.shape[-2:]
            causal_mask = torch.ones((i, j), dtype=torch.bool, device=x.device).triu(j - i + 1)
            sim = sim.masked_fill(causal_mask, -torch.finfo(sim.dtype).max)
            full = einsum('b h i j, b h j d -> b h i d', sim.softmax(dim=-1), v)
            out = torch.cat((full, self.local(lq, lk, lv)), dim=1)
            x = to_out(rearrange(out, 'b h n d -> b n (h d)')) + x
        return F.cross_entropy(rearrange(self.logits(x), 'b n c -> b c n'), targets)


@written(ids)
class SwitchMoE(nn.Module):
    """one-hot dispatch with einsum, after lucidrains/mixture-of-experts"""
    class Experts(nn.Module):
        def __init__(self, dim, num_experts=8, hidden_dim=256):
            super().__init__()
            std = 1 / math.sqrt(dim)
            self.w1 = nn.Parameter(torch.zeros(num_experts, dim, hidden_dim).uniform_(-std, std))
            self.w2 = nn.Parameter(torch.zeros(num_experts, hidden_dim, dim).uniform_(-std, std))
            self.act = nn.GELU()

        def forward(self, x):
            hidden = torch.einsum('...nd,...dh->...nh', x, self.w1)
            hidden = self.act(hidden)
            out = torch.einsum('...nh,...hd->...nd', hidden, self.w2)
            return out

    class Top1Gating(nn.Module):
        def __init__(self, dim, num_gates=8, capacity=24):
            super().__init__()
            self.w_gating, self.num_gates, self.capacity = nn.Parameter(torch.randn(dim, num_gates)), num_gates, capacity

        def forward(self, x):
            raw_gates = torch.einsum('...bnd,...de->...bne', x, self.w_gating)
            raw_gates = raw_gates.softmax(dim=-1)
            gate_1, index_1 = raw_gates.max(dim=-1)
            mask_1 = F.one_hot(index_1, self.num_gates).float()
            density_1 = mask_1.mean(dim=-2)
            density_1_proxy = raw_gates.mean(dim=-2)
            loss = (density_1_proxy * density_1).mean() * float(self.num_gates ** 2)
            position_in_expert_1 = (torch.cumsum(mask_1, dim=-2) - mask_1) * mask_1
            mask_1 *= (position_in_expert_1 < self.capacity).float()
            mask_1_flat = mask_1.sum(dim=-1)
            position_in_expert_1 = position_in_expert_1.sum(dim=-1)
            gate_1 = gate_1 * mask_1_flat
            combine_tensor = (gate_1[..., None, None] * mask_1_flat[..., None, None] * F.one_hot(index_1, self.num_gates)[..., None]
                              * F.one_hot(position_in_expert_1.long().clamp(max=self.capacity - 1), self.capacity)[..., None, :])
            dispatch_tensor = combine_tensor.bool().to(combine_tensor)
            return dispatch_tensor, combine_tensor, loss

    def __init__(self, dim=128):
        super().__init__()
        self.emb, self.norm, self.gate, self.experts, self.head = nn.Embedding(1000, dim), nn.LayerNorm(dim), SwitchMoE.Top1Gating(dim), SwitchMoE.Experts(dim), nn.Linear(dim, 1000)
        self.attn = nn.MultiheadAttention(dim, 4, dropout=0.1, batch_first=True, bias=False)

    def forward(self, idx, targets):
        x = self.emb(idx)
        h = self.norm(x)
        x = x + self.attn(h, h, h, need_weights=False)[0]
        dispatch_tensor, combine_tensor, loss = self.gate(x)
        expert_inputs = torch.einsum('bnd,bnec->ebcd', x, dispatch_tensor.type_as(x))
        orig_shape = expert_inputs.shape
        expert_inputs = expert_inputs.reshape(8, -1, 128)
        expert_outputs = self.experts(expert_inputs)
        expert_outputs = expert_outputs.reshape(*orig_shape)
        output = torch.einsum('ebcd,bnec->bnd', expert_outputs, combine_tensor.type_as(x))
        x = x + output
        return F.cross_entropy(self.head(x).view(-1, 1000), targets.view(-1)) + loss * 1e-2


@written(ids)
class Hyena(nn.Module):
    class Filter(nn.Module):
        def __init__(self, d=64, emb_dim=5, order=32, seq_len=512):
            super().__init__()
            t = torch.linspace(0, 1, seq_len)[None, :, None]
            bands = (emb_dim - 1) // 2
            w = 2 * math.pi * torch.linspace(0, seq_len - 1, seq_len)[None, :, None] / seq_len
            f = torch.linspace(1e-4, bands - 1, bands)[None, None]
            self.register_buffer("z", torch.cat([t, torch.cos(f * w), torch.sin(f * w)], dim=-1))
            self.register_buffer("t", t)
            self.freq = nn.Parameter(10 * torch.ones(1, order))
            self.fc1, self.fc2, self.fc3 = nn.Linear(emb_dim, order), nn.Linear(order, order), nn.Linear(order, d, bias=False)
            self.deltas, self.bias = nn.Parameter(torch.linspace(0.1, 3, d)[None, None]), nn.Parameter(torch.randn(d))

        def filter(self, L):
            z, t = self.z[:, :L], self.t[:, :L]
            h = torch.sin(self.freq * self.fc1(z))
            h = torch.sin(self.freq * self.fc2(h))
            h = self.fc3(h)
            decay = torch.exp(-t * self.deltas.abs())
            return h * (decay + 0.05)

        def forward(self, x, L):
            k = rearrange(self.filter(L), '1 l d -> d l')
            fft_size = 2 * L
            k_f = torch.fft.rfft(k.float(), n=fft_size) / fft_size
            u_f = torch.fft.rfft(x.float(), n=fft_size)
            y = torch.fft.irfft(u_f * k_f, n=fft_size, norm='forward')[..., :L]
            out = y + x * self.bias.unsqueeze(-1)
            return out.to(dtype=x.dtype)

    def __init__(self, d=64):
        super().__init__()
        self.emb, self.d_model = nn.Embedding(1000, d), d
        self.in_proj, self.out_proj = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.short_filter = nn.Conv1d(3 * d, 3 * d, 3, padding=2, groups=3 * d)
        self.filter_fn, self.head = Hyena.Filter(d), nn.Linear(d, 1000)

    def forward(self, idx, targets):
        u = self.emb(idx)
        l = u.size(1)
        u = rearrange(self.in_proj(u), 'b l d -> b d l')
        uc = self.short_filter(u)[..., :l]
        *x, v = uc.split(self.d_model, dim=1)
        for x_i in reversed(x[1:]):
            v = F.dropout(v * x_i, 0.1, self.training)
            v = self.filter_fn(v, l)
        y = rearrange(v * x[0], 'b d l -> b l d')
        y = self.out_proj(y)
        return F.cross_entropy(self.head(y).view(-1, 1000), targets.view(-1))


class Houlsby(nn.Module):
    def __init__(self, d, bottleneck=16):
        super().__init__()
        self.down_project, self.up_project, self.act = nn.Linear(d, bottleneck), nn.Linear(bottleneck, d), nn.ReLU()

    def forward(self, hidden_states):
        down_projected = self.down_project(hidden_states)
        activated = self.act(down_projected)
        up_projected = self.up_project(activated)
        return hidden_states + up_projected


@written(text)
class PrefixAdapter(nn.Module):
    """a frozen BERT-like encoder with prefixes for keys and values, and adapters"""
    class Layer(nn.Module):
        def __init__(self, d=128):
            super().__init__()
            self.query, self.key, self.value, self.dense = (nn.Linear(d, d) for _ in range(4))
            self.LayerNorm, self.intermediate, self.output, self.OutNorm = nn.LayerNorm(d, eps=1e-12), nn.Linear(d, 512), nn.Linear(512, d), nn.LayerNorm(d, eps=1e-12)
            self.dropout, self.adapter1, self.adapter2 = nn.Dropout(0.1), Houlsby(d), Houlsby(d)

        def transpose_for_scores(self, x):
            new_x_shape = x.size()[:-1] + (4, 32)
            x = x.view(*new_x_shape)
            return x.permute(0, 2, 1, 3)

        def forward(self, hidden_states, past):
            key_layer = self.transpose_for_scores(self.key(hidden_states))
            value_layer = self.transpose_for_scores(self.value(hidden_states))
            key_layer = torch.cat([past[0], key_layer], dim=2)
            value_layer = torch.cat([past[1], value_layer], dim=2)
            query_layer = self.transpose_for_scores(self.query(hidden_states))
            attention_scores = torch.matmul(query_layer, key_layer.transpose(-1, -2))
            attention_scores = attention_scores / math.sqrt(32)
            attention_probs = nn.Softmax(dim=-1)(attention_scores)
            attention_probs = self.dropout(attention_probs)
            context_layer = torch.matmul(attention_probs, value_layer)
            context_layer = context_layer.permute(0, 2, 1, 3).contiguous()
            context_layer = context_layer.view(context_layer.size()[:-2] + (128,))
            x = self.LayerNorm(self.adapter1(self.dropout(self.dense(context_layer))) + hidden_states)
            h = F.gelu(self.intermediate(x))
            return self.OutNorm(self.adapter2(self.dropout(self.output(h))) + x)

    def __init__(self, pre_seq_len=8, n_layer=3):
        super().__init__()
        self.pre_seq_len, self.n_layer = pre_seq_len, n_layer
        self.word, self.position, self.LayerNorm, self.dropout = nn.Embedding(1000, 128), nn.Embedding(512, 128), nn.LayerNorm(128), nn.Dropout(0.1)
        self.layer = nn.ModuleList([PrefixAdapter.Layer() for _ in range(n_layer)])
        for n, p in self.named_parameters():
            if "adapter" not in n and "Norm" not in n: p.requires_grad = False
        self.prefix_tokens = torch.arange(pre_seq_len).long()
        self.embedding = nn.Embedding(pre_seq_len, 128)
        self.trans = nn.Sequential(nn.Linear(128, 256), nn.Tanh(), nn.Linear(256, n_layer * 2 * 128))
        self.classifier = nn.Linear(128, 10)

    def get_prompt(self, batch_size, device):
        prefix_tokens = torch.arange(self.pre_seq_len, device=device).unsqueeze(0).expand(batch_size, -1)
        past_key_values = self.trans(self.embedding(prefix_tokens))
        past_key_values = past_key_values.view(batch_size, self.pre_seq_len, self.n_layer * 2, 4, 32)
        past_key_values = self.dropout(past_key_values)
        return past_key_values.permute([2, 0, 3, 1, 4]).split(2)

    def forward(self, x, y):
        b, n = x.shape
        past = self.get_prompt(b, x.device)
        h = self.dropout(self.LayerNorm(self.word(x) + self.position(torch.arange(n, device=x.device))))
        for i, l in enumerate(self.layer): h = l(h, past[i])
        return F.cross_entropy(self.classifier(h[:, 0]), y)


# ---------------------------------------------------------------- pairs of sentences, word vectors

@written(lambda b, n, device: dict(q1=ints(b, 18, device=device), q2=ints(b, 18, device=device), label=ints(b, device=device)))
class ESIM(nn.Module):
    def __init__(self, hidden_size=100, embeds_dim=128):
        super().__init__()
        self.embeds = nn.Embedding(5000, embeds_dim)
        self.bn_embeds = nn.BatchNorm1d(embeds_dim)
        self.lstm1 = LSTM(embeds_dim, hidden_size, batch_first=True, bidirectional=True)
        self.lstm2 = LSTM(hidden_size * 8, hidden_size, batch_first=True, bidirectional=True)
        self.fc = nn.Sequential(nn.BatchNorm1d(hidden_size * 8), nn.Linear(hidden_size * 8, 200), nn.ELU(inplace=True), nn.BatchNorm1d(200), nn.Dropout(0.5), nn.Linear(200, 200), nn.ELU(inplace=True), nn.BatchNorm1d(200), nn.Dropout(0.5), nn.Linear(200, 2))

    def soft_attention_align(self, x1, x2, mask1, mask2):
        attention = torch.matmul(x1, x2.transpose(1, 2))
        mask1 = mask1.float().masked_fill_(mask1, float('-inf'))
        mask2 = mask2.float().masked_fill_(mask2, float('-inf'))
        weight1 = F.softmax(attention + mask2.unsqueeze(1), dim=-1)
        x1_align = torch.matmul(weight1.type_as(x2), x2)
        weight2 = F.softmax(attention.transpose(1, 2) + mask1.unsqueeze(1), dim=-1)
        x2_align = torch.matmul(weight2.type_as(x1), x1)
        return x1_align, x2_align

    def submul(self, x1, x2):
        mul = x1 * x2
        sub = x1 - x2
        return torch.cat([sub, mul], -1)

    def apply_multiple(self, x):
        p1 = F.avg_pool1d(x.transpose(1, 2), x.size(1)).squeeze(-1)
        p2 = F.max_pool1d(x.transpose(1, 2), x.size(1)).squeeze(-1)
        return torch.cat([p1, p2], 1)

    def forward(self, q1, q2, label):
        mask1, mask2 = q1.eq(1), q2.eq(1)
        x1 = self.bn_embeds(self.embeds(q1).transpose(1, 2).contiguous()).transpose(1, 2)
        x2 = self.bn_embeds(self.embeds(q2).transpose(1, 2).contiguous()).transpose(1, 2)
        o1, _ = self.lstm1(x1)
        o2, _ = self.lstm1(x2)
        q1_align, q2_align = self.soft_attention_align(o1, o2, mask1, mask2)
        q1_combined = torch.cat([o1, q1_align, self.submul(o1, q1_align)], -1)
        q2_combined = torch.cat([o2, q2_align, self.submul(o2, q2_align)], -1)
        q1_compose, _ = self.lstm2(q1_combined)
        q2_compose, _ = self.lstm2(q2_combined)
        q1_rep = self.apply_multiple(q1_compose)
        q2_rep = self.apply_multiple(q2_compose)
        x = torch.cat([q1_rep, q2_rep], -1)
        similarity = self.fc(x)
        return F.cross_entropy(similarity, label)


@written(lambda b, n, device: dict(Q=ints(b, 32, device=device), D=ints(b, 2, 80, device=device)))
class ColBERT(nn.Module):
    """MaxSim over token vectors, one positive and one negative passage, and in-batch negatives"""
    def __init__(self):
        super().__init__()
        self.emb, self.pos = nn.Embedding(3000, 128, padding_idx=0), nn.Parameter(torch.zeros(1, 128, 128))
        self.bert = nn.TransformerEncoder(nn.TransformerEncoderLayer(128, 4, 256, activation=F.gelu, batch_first=True), num_layers=2, enable_nested_tensor=False)
        self.linear = nn.Linear(128, 64, bias=False)

    def encode(self, input_ids):
        x = self.emb(input_ids) + self.pos[:, :input_ids.size(1)]
        x = self.bert(x, src_key_padding_mask=(input_ids == 2999))
        return self.linear(x)

    def query(self, input_ids):
        return F.normalize(self.encode(input_ids), p=2, dim=2)

    def doc(self, input_ids):
        D = self.encode(input_ids)
        mask = (input_ids != 0).unsqueeze(2).to(D.dtype)
        D = D * mask
        return F.normalize(D, p=2, dim=2)

    def score(self, Q, D):
        return (Q @ D.permute(0, 2, 1)).max(2).values.sum(1)

    def forward(self, Q, D):
        Q, D = self.query(Q), self.doc(D.flatten(0, 1))
        Q_duplicated = Q.repeat_interleave(2, dim=0).contiguous()
        scores = self.score(Q_duplicated, D).view(-1, 2)
        loss = F.cross_entropy(scores, torch.zeros(scores.size(0), dtype=torch.long, device=scores.device))
        all_scores = torch.einsum('qid,pjd->qpij', Q, D).max(-1).values.sum(-1)
        labels = torch.arange(0, all_scores.size(0), device=scores.device) * 2
        loss += nn.CrossEntropyLoss()(all_scores, labels)
        return loss


@written(pairs(40, 40))
class SentenceCSE(nn.Module):
    """SimCSE: one sentence twice through dropout, mean pooling with a mask, InfoNCE, and a hard negative"""
    class Pooler(nn.Module):
        def __init__(self, d):
            super().__init__()
            self.dense, self.activation = nn.Linear(d, d), nn.Tanh()

        def forward(self, features, **kwargs):
            x = self.dense(features)
            x = self.activation(x)
            return x

    def __init__(self, d=192):
        super().__init__()
        self.embeddings = nn.ModuleDict({"word": nn.Embedding(4000, d), "position": nn.Embedding(64, d), "norm": nn.LayerNorm(d), "drop": nn.Dropout(0.1)})
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(d, 6, 384, 0.1, "relu", batch_first=True, norm_first=True), 2, enable_nested_tensor=False)
        self.mlp, self.temp = SentenceCSE.Pooler(d), 0.05

    def forward(self, src, trg):
        input_ids = torch.stack([src, src, trg], dim=1)
        batch_size, num_sent, L = input_ids.shape
        input_ids = input_ids.view((-1, input_ids.size(-1)))
        attention_mask = input_ids.ne(1)
        x = self.embeddings["word"](input_ids)
        x += self.embeddings["position"](torch.arange(L, device=x.device).expand((1, -1)))
        x = self.embeddings["drop"](self.embeddings["norm"](x))
        last_hidden = self.encoder(x, src_key_padding_mask=~attention_mask)
        pooler_output = (last_hidden * attention_mask.unsqueeze(-1)).sum(1) / attention_mask.sum(-1).unsqueeze(-1)
        pooler_output = pooler_output.view((batch_size, num_sent, pooler_output.size(-1)))
        pooler_output = self.mlp(pooler_output)
        z1, z2, z3 = pooler_output[:, 0], pooler_output[:, 1], pooler_output[:, 2]
        cos = nn.CosineSimilarity(dim=-1)
        cos_sim = cos(z1.unsqueeze(1), z2.unsqueeze(0)) / self.temp
        z1_z3_cos = cos(z1.unsqueeze(1), z3.unsqueeze(0)) / self.temp
        cos_sim = torch.cat([cos_sim, z1_z3_cos], 1)
        labels = torch.arange(cos_sim.size(0)).long().to(cos_sim.device)
        return nn.CrossEntropyLoss()(cos_sim, labels)


@written(lambda b, n, device: dict(i=ints(b, 500, device=device), j=ints(b, 500, device=device), count=ints(b, 500, device=device)))
class GloVe(nn.Module):
    def __init__(self, vocab_size=5000, embed_size=100, x_max=100, alpha=0.75):
        super().__init__()
        self.weight, self.weight_tilde = nn.Embedding(vocab_size, embed_size), nn.Embedding(vocab_size, embed_size)
        self.bias, self.bias_tilde = nn.Parameter(torch.randn(vocab_size)), nn.Parameter(torch.randn(vocab_size))
        self.weighting_func = lambda x: (x / x_max).float_power(alpha).clamp(0, 1)

    def forward(self, i, j, count):
        i, j, x = i.reshape(-1), j.reshape(-1), count.reshape(-1) + 1
        loss = torch.mul(self.weight(i), self.weight_tilde(j)).sum(dim=1)
        loss = (loss + self.bias[i] + self.bias_tilde[j] - x.log()).square()
        loss = torch.mul(self.weighting_func(x), loss).mean()
        return loss


@written(lambda b, n, device: dict(u=ints(b, 50, device=device), v=ints(b, 50, device=device), neg=ints(b, 50, 5, device=device), sub=ints(b, 50, 6, device=device)))
class SkipGram(nn.Module):
    """negative sampling, with the n-grams of fastText added to the centre word"""
    def __init__(self, emb_size=20000, emb_dimension=100):
        super().__init__()
        self.u_embeddings = nn.Embedding(emb_size, emb_dimension)
        self.v_embeddings = nn.Embedding(emb_size, emb_dimension)
        self.ngrams = nn.EmbeddingBag(emb_size, emb_dimension, mode="mean")
        initrange = 1.0 / emb_dimension
        nn.init.uniform_(self.u_embeddings.weight.data, -initrange, initrange)
        nn.init.constant_(self.v_embeddings.weight.data, 0)

    def forward(self, u, v, neg, sub):
        pos_u, pos_v, neg_v = u.reshape(-1), v.reshape(-1), neg.reshape(-1, 5)
        emb_u = self.u_embeddings(pos_u)
        emb_u = emb_u + self.ngrams(sub.reshape(-1, 6))
        emb_v = self.v_embeddings(pos_v)
        emb_neg_v = self.v_embeddings(neg_v)
        score = torch.sum(torch.mul(emb_u, emb_v), dim=1)
        score = torch.clamp(score, max=10, min=-10)
        score = -F.logsigmoid(score)
        neg_score = torch.bmm(emb_neg_v, emb_u.unsqueeze(2)).squeeze()
        neg_score = torch.clamp(neg_score, max=10, min=-10)
        neg_score = -torch.sum(F.logsigmoid(-neg_score), dim=1)
        return torch.mean(score + neg_score)


@written(lambda b, n, device: dict(chars=ints(b, 14, 16, device=device), fwd=ints(b, 14, device=device), bwd=ints(b, 14, device=device)))
class ELMoLike(nn.Module):
    """characters through convolutions of several widths and highways, then a forward and a backward language model, mixed"""
    class Highway(nn.Module):
        def __init__(self, input_dim, num_layers=1):
            super().__init__()
            self._input_dim = input_dim
            self._layers = nn.ModuleList([nn.Linear(input_dim, input_dim * 2) for _ in range(num_layers)])
            for layer in self._layers: layer.bias[input_dim:].data.fill_(1)

        def forward(self, inputs):
            current_input = inputs
            for layer in self._layers:
                projected_inputs = layer(current_input)
                linear_part = current_input
                nonlinear_part = projected_inputs[:, (0 * self._input_dim):(1 * self._input_dim)]
                gate = projected_inputs[:, (1 * self._input_dim):(2 * self._input_dim)]
                nonlinear_part = F.relu(nonlinear_part)
                gate = torch.sigmoid(gate)
                current_input = gate * linear_part + (1 - gate) * nonlinear_part
            return current_input

    def __init__(self):
        super().__init__()
        self._char_embedding_weights = nn.Parameter(torch.FloatTensor(262, 16))
        self.filters = [[1, 32], [2, 32], [3, 64], [4, 128]]
        convolutions = []
        for i, (width, num) in enumerate(self.filters):
            conv = nn.Conv1d(in_channels=16, out_channels=num, kernel_size=width, bias=True)
            self.add_module('char_conv_{}'.format(i), conv)
            convolutions.append(conv)
        self._convolutions = convolutions
        self._highways, self._projection = ELMoLike.Highway(256, 2), nn.Linear(256, 128, bias=True)
        self.forward_layers, self.backward_layers = nn.ModuleList([LSTM(128, 128, batch_first=True) for _ in range(2)]), nn.ModuleList([LSTM(128, 128, batch_first=True) for _ in range(2)])
        self.scalar_parameters, self.gamma = nn.ParameterList([nn.Parameter(torch.tensor([0.0])) for _ in range(3)]), nn.Parameter(torch.tensor([1.0]))
        self.decoder, self.tagger = nn.Linear(128, 2000), nn.Linear(256, 2000)

    def forward(self, chars, fwd, bwd):
        b, t, c = chars.shape
        character_embedding = F.embedding(chars.view(-1, c), self._char_embedding_weights)
        character_embedding = torch.transpose(character_embedding, 1, 2)
        convs = []
        for i in range(len(self._convolutions)):
            conv = getattr(self, 'char_conv_{}'.format(i))
            convolved = conv(character_embedding)
            convolved, _ = torch.max(convolved, dim=-1)
            convolved = F.relu(convolved)
            convs.append(convolved)
        token_embedding = torch.cat(convs, dim=-1)
        token_embedding = self._highways(token_embedding)
        token_embedding = self._projection(token_embedding)
        x = token_embedding.view(b, t, -1)
        forward_cache, backward_cache = x, x.flip(1)
        layers = [torch.cat([x, x], dim=-1)]
        for i, (f, g) in enumerate(zip(self.forward_layers, self.backward_layers)):
            f_out, g_out = f(forward_cache)[0], g(backward_cache)[0]
            if i != 0:
                f_out = f_out + forward_cache
                g_out = g_out + backward_cache
            forward_cache, backward_cache = F.dropout(f_out, 0.1, self.training), F.dropout(g_out, 0.1, self.training)
            layers.append(torch.cat([forward_cache, backward_cache.flip(1)], dim=-1))
        normed_weights = F.softmax(torch.cat([parameter for parameter in self.scalar_parameters]), dim=0)
        normed_weights = torch.split(normed_weights, split_size_or_sections=1)
        pieces = []
        for weight, tensor in zip(normed_weights, layers):
            pieces.append(weight * tensor)
        mixed = self.gamma * sum(pieces)
        loss = F.cross_entropy(self.decoder(forward_cache).flatten(0, 1), fwd.flatten()) + F.cross_entropy(self.decoder(backward_cache).flatten(0, 1), bwd.flatten())
        return 0.5 * loss + F.cross_entropy(self.tagger(mixed).flatten(0, 1), fwd.flatten())


# ---------------------------------------------------------------- recommendation

def fields(k, m=16): return lambda b, n, device: dict(x=ints(b * 1, m, k, device=device), y=floats(b, m, device=device))


class FeaturesEmbedding(nn.Module):
    """rixwew/pytorch-fm"""
    def __init__(self, field_dims, embed_dim):
        super().__init__()
        self.embedding = nn.Embedding(sum(field_dims), embed_dim)
        self.register_buffer("offsets", torch.tensor((0, *np.cumsum(field_dims)[:-1]), dtype=torch.long))

    def forward(self, x):
        x = x + self.offsets.unsqueeze(0)
        return self.embedding(x)


class FeaturesLinear(nn.Module):
    def __init__(self, field_dims, output_dim=1):
        super().__init__()
        self.fc = nn.Embedding(sum(field_dims), output_dim)
        self.bias = nn.Parameter(torch.zeros((output_dim,)))
        self.register_buffer("offsets", torch.tensor((0, *np.cumsum(field_dims)[:-1]), dtype=torch.long))

    def forward(self, x):
        x = x + self.offsets.unsqueeze(0)
        return torch.sum(self.fc(x), dim=1) + self.bias


class MultiLayerPerceptron(nn.Module):
    def __init__(self, input_dim, embed_dims, dropout, output_layer=True):
        super().__init__()
        layers = list()
        for embed_dim in embed_dims:
            layers.append(nn.Linear(input_dim, embed_dim))
            layers.append(nn.BatchNorm1d(embed_dim))
            layers.append(nn.ReLU())
            layers.append(nn.Dropout(p=dropout))
            input_dim = embed_dim
        if output_layer:
            layers.append(nn.Linear(input_dim, 1))
        self.mlp = nn.Sequential(*layers)

    def forward(self, x):
        return self.mlp(x)


class CompressedInteractionNetwork(nn.Module):
    def __init__(self, input_dim, cross_layer_sizes, split_half=True):
        super().__init__()
        self.num_layers = len(cross_layer_sizes)
        self.split_half = split_half
        self.conv_layers = nn.ModuleList()
        prev_dim, fc_input_dim = input_dim, 0
        for i in range(self.num_layers):
            cross_layer_size = cross_layer_sizes[i]
            self.conv_layers.append(nn.Conv1d(input_dim * prev_dim, cross_layer_size, 1, stride=1, dilation=1, bias=True))
            if self.split_half and i != self.num_layers - 1:
                cross_layer_size //= 2
            prev_dim = cross_layer_size
            fc_input_dim += prev_dim
        self.fc = nn.Linear(fc_input_dim, 1)

    def forward(self, x):
        xs = list()
        x0, h = x.unsqueeze(2), x
        for i in range(self.num_layers):
            x = x0 * h.unsqueeze(1)
            batch_size, f0_dim, fin_dim, embed_dim = x.shape
            x = x.view(batch_size, f0_dim * fin_dim, embed_dim)
            x = F.relu(self.conv_layers[i](x))
            if self.split_half and i != self.num_layers - 1:
                x, h = torch.split(x, x.shape[1] // 2, dim=1)
            else:
                h = x
            xs.append(x)
        return self.fc(torch.sum(torch.cat(xs, dim=1), 2))


@written(fields(18))
class XDeepFM(nn.Module):
    def __init__(self, field_dims=(200,) * 18, embed_dim=16):
        super().__init__()
        self.embedding = FeaturesEmbedding(field_dims, embed_dim)
        self.embed_output_dim = len(field_dims) * embed_dim
        self.cin = CompressedInteractionNetwork(len(field_dims), (48, 32))
        self.mlp = MultiLayerPerceptron(self.embed_output_dim, (128, 64), 0.2)
        self.linear = FeaturesLinear(field_dims)

    def forward(self, x, y):
        x, y = x.flatten(0, 1), y.flatten()
        embed_x = self.embedding(x)
        x = self.linear(x) + self.cin(embed_x) + self.mlp(embed_x.view(-1, self.embed_output_dim))
        return nn.BCEWithLogitsLoss()(x.squeeze(1), torch.sigmoid(y))


@written(fields(22, 32))
class DeepFM(nn.Module):
    def __init__(self, field_dims=(300,) * 22, embed_dim=10):
        super().__init__()
        self.linear, self.embedding = FeaturesLinear(field_dims), FeaturesEmbedding(field_dims, embed_dim)
        self.mlp = MultiLayerPerceptron(22 * embed_dim, (256, 128), 0.2)

    def fm(self, x):
        square_of_sum = torch.sum(x, dim=1) ** 2
        sum_of_square = torch.sum(x ** 2, dim=1)
        ix = square_of_sum - sum_of_square
        ix = torch.sum(ix, dim=1, keepdim=True)
        return 0.5 * ix

    def forward(self, x, y):
        x, y = x.flatten(0, 1), y.flatten()
        embed_x = self.embedding(x)
        x = self.linear(x) + self.fm(embed_x) + self.mlp(embed_x.view(-1, 220))
        return F.binary_cross_entropy_with_logits(x.squeeze(1), y.sigmoid())


@written(fields(20, 16))
class AutoInt(nn.Module):
    def __init__(self, field_dims=(200,) * 20, embed_dim=16, atten_embed_dim=32, num_heads=2, num_layers=3):
        super().__init__()
        self.linear, self.embedding = FeaturesLinear(field_dims), FeaturesEmbedding(field_dims, embed_dim)
        self.atten_embedding = nn.Linear(embed_dim, atten_embed_dim)
        self.atten_output_dim = 20 * atten_embed_dim
        self.mlp = MultiLayerPerceptron(20 * embed_dim, (128, 128), 0.4)
        self.self_attns = nn.ModuleList([nn.MultiheadAttention(atten_embed_dim, num_heads, dropout=0.1) for _ in range(num_layers)])
        self.attn_fc = nn.Linear(self.atten_output_dim, 1)
        self.V_res_embedding = nn.Linear(embed_dim, atten_embed_dim)

    def forward(self, x, y):
        x, y = x.flatten(0, 1), y.flatten()
        embed_x = self.embedding(x)
        atten_x = self.atten_embedding(embed_x)
        cross_term = atten_x.transpose(0, 1)
        for self_attn in self.self_attns:
            cross_term, _ = self_attn(cross_term, cross_term, cross_term)
        cross_term = cross_term.transpose(0, 1)
        V_res = self.V_res_embedding(embed_x)
        cross_term += V_res
        cross_term = F.relu(cross_term).contiguous().view(-1, self.atten_output_dim)
        x = self.linear(x) + self.attn_fc(cross_term) + self.mlp(embed_x.view(-1, 320))
        return F.binary_cross_entropy_with_logits(x.squeeze(1), (y > 0).to(x.dtype))


@written(lambda b, n, device: dict(dense=floats(b, 32, 13, device=device), sparse=ints(b, 32, 20, device=device), y=floats(b, 32, device=device)))
class DCNv2(nn.Module):
    """CrossNetMix of DeepCTR-Torch: low rank, experts gated, loops in the forward"""
    class CrossNetMix(nn.Module):
        def __init__(self, in_features, low_rank=16, num_experts=4, layer_num=2):
            super().__init__()
            self.layer_num, self.num_experts = layer_num, num_experts
            self.U_list = nn.Parameter(torch.Tensor(layer_num, num_experts, in_features, low_rank))
            self.V_list = nn.Parameter(torch.Tensor(layer_num, num_experts, in_features, low_rank))
            self.C_list = nn.Parameter(torch.Tensor(layer_num, num_experts, low_rank, low_rank))
            self.gating = nn.ModuleList([nn.Linear(in_features, 1, bias=False) for i in range(num_experts)])
            self.bias = nn.Parameter(torch.Tensor(layer_num, in_features, 1))

        def forward(self, inputs):
            x_0 = inputs.unsqueeze(2)
            x_l = x_0
            for i in range(self.layer_num):
                output_of_experts = []
                gating_score_of_experts = []
                for expert_id in range(self.num_experts):
                    gating_score_of_experts.append(self.gating[expert_id](x_l.squeeze(2)))
                    v_x = torch.matmul(self.V_list[i][expert_id].t(), x_l)
                    v_x = torch.tanh(v_x)
                    v_x = torch.matmul(self.C_list[i][expert_id], v_x)
                    v_x = torch.tanh(v_x)
                    uv_x = torch.matmul(self.U_list[i][expert_id], v_x)
                    dot_ = uv_x + self.bias[i]
                    dot_ = x_0 * dot_
                    output_of_experts.append(dot_.squeeze(2))
                output_of_experts = torch.stack(output_of_experts, 2)
                gating_score_of_experts = torch.stack(gating_score_of_experts, 1)
                moe_out = torch.matmul(output_of_experts, gating_score_of_experts.softmax(1))
                x_l = moe_out + x_l
            x_l = x_l.squeeze()
            return x_l

    def __init__(self):
        super().__init__()
        self.embedding_dict = nn.ModuleDict({f"C{i}": nn.Embedding(300, 8, sparse=False) for i in range(20)})
        self.dnn, self.crossnet = nn.Sequential(nn.Linear(173, 128), nn.ReLU(inplace=True), nn.Dropout(0.1), nn.Linear(128, 64), nn.ReLU(inplace=True)), DCNv2.CrossNetMix(173)
        self.dnn_linear, self.out_bias, self.l2 = nn.Linear(237, 1, bias=False), nn.Parameter(torch.zeros((1,))), 1e-5

    def get_regularization_loss(self):
        total = torch.zeros((1,), device=self.out_bias.device)
        for emb in self.embedding_dict.values():
            total += torch.sum(self.l2 * torch.square(emb.weight))
        return total

    def forward(self, dense, sparse, y):
        dense, sparse = dense.flatten(0, 1), sparse.flatten(0, 1)
        embedding_list = [self.embedding_dict[f"C{i}"](sparse[:, i:i + 1]) for i in range(20)]
        sparse_dnn_input = torch.flatten(torch.cat(embedding_list, dim=-1), start_dim=1)
        dnn_input = torch.cat([sparse_dnn_input, dense], dim=-1)
        deep_out = self.dnn(dnn_input)
        cross_out = self.crossnet(dnn_input)
        stack_out = torch.cat((cross_out, deep_out), dim=-1)
        logit = self.dnn_linear(stack_out)
        logit += self.out_bias
        loss = F.binary_cross_entropy_with_logits(logit.squeeze(), y.flatten().sigmoid(), reduction='sum')
        return loss + self.get_regularization_loss().sum()


class Dice(nn.Module):
    def __init__(self, emb_size, dim=2, epsilon=1e-8):
        super().__init__()
        self.bn, self.sigmoid, self.dim = nn.BatchNorm1d(emb_size, eps=epsilon), nn.Sigmoid(), dim
        self.alpha = nn.Parameter(torch.zeros((emb_size,)))

    def forward(self, x):
        if self.dim == 2:
            x_p = self.sigmoid(self.bn(x))
            out = self.alpha * (1 - x_p) * x + x_p * x
        else:
            x = torch.transpose(x, 1, 2)
            x_p = self.sigmoid(self.bn(x))
            out = self.alpha.unsqueeze(1) * (1 - x_p) * x + x_p * x
            out = torch.transpose(out, 1, 2)
        return out


@written(lambda b, n, device: dict(item=ints(b, 4, 2, device=device), hist=ints(b, 4, 50, 2, device=device), length=ints(b, 4, device=device), y=ints(b, 4, device=device)))
class DIN(nn.Module):
    """deep interest network: attention over the history by an MLP, Dice, a length mask"""
    def __init__(self, k=32):
        super().__init__()
        self.item, self.cate = nn.Embedding(5000, k), nn.Embedding(300, k)
        self.attn = nn.Sequential(nn.Linear(8 * k, 80), Dice(80, dim=3), nn.Linear(80, 40), Dice(40, dim=3), nn.Linear(40, 1))
        self.fc = nn.Sequential(nn.Linear(6 * k, 200), Dice(200), nn.Dropout(0.1), nn.Linear(200, 80), nn.PReLU(80), nn.Linear(80, 2))

    def attention(self, queries, keys, keys_length):
        T = keys.size(1)
        queries = queries.expand(-1, T, -1)
        din_all = torch.cat([queries, keys, queries - keys, queries * keys], dim=-1)
        outputs = self.attn(din_all)
        outputs = torch.transpose(outputs, 1, 2)
        key_masks = torch.arange(T, device=keys.device, dtype=keys_length.dtype).unsqueeze(0) < keys_length.unsqueeze(1)
        key_masks = key_masks.unsqueeze(1)
        paddings = torch.ones_like(outputs) * (-2 ** 32 + 1)
        outputs = torch.where(key_masks, outputs, paddings)
        outputs = outputs / (keys.size(-1) ** 0.5)
        outputs = F.softmax(outputs, dim=-1)
        return torch.matmul(outputs, keys)

    def forward(self, item, hist, length, y):
        item, hist, length = item.flatten(0, 1), hist.flatten(0, 1), length.flatten()
        q = torch.cat([self.item(item[:, 0]), self.cate(item[:, 1])], dim=-1).unsqueeze(1)
        keys = torch.cat([self.item(hist[..., 0]), self.cate(hist[..., 1])], dim=-1)
        h = self.attention(q, keys, length).squeeze(1)
        q = q.squeeze(1)
        logits = self.fc(torch.cat([q, h, q * h], dim=-1))
        return F.cross_entropy(logits, y.flatten())


# ---------------------------------------------------------------- graphs

def edges(nodes, count, width): return lambda b, n, device: dict(x=floats(b, nodes, width, device=device), edge_index=ints(b, 2, count, device=device), y=ints(b, device=device))


def flat_edges(edge_index, nodes):
    """a batch of graphs as one, the way a loader counts on"""
    shift = torch.arange(edge_index.size(0), device=edge_index.device).view(-1, 1, 1) * nodes
    return (edge_index + shift).transpose(0, 1).reshape(2, -1)


@written(edges(40, 160, 32))
class GIN(nn.Module):
    class Conv(nn.Module):
        def __init__(self, cin, cout):
            super().__init__()
            self.mlp = nn.Sequential(nn.Linear(cin, 2 * cout), nn.BatchNorm1d(2 * cout), nn.ReLU(), nn.Linear(2 * cout, cout))
            self.eps = nn.Parameter(torch.Tensor([0]))

        def forward(self, x, edge_index):
            src, dst = edge_index[0], edge_index[1]
            msg = F.relu(x[src])
            out = torch.zeros_like(x)
            out.index_add_(0, dst, msg)
            return self.mlp((1 + self.eps) * x + out)

    def __init__(self, num_layer=4, emb_dim=96):
        super().__init__()
        self.num_layer, self.drop_ratio = num_layer, 0.5
        self.node_encoder = nn.Linear(32, emb_dim)
        self.convs, self.batch_norms = nn.ModuleList(), nn.ModuleList()
        for layer in range(num_layer):
            self.convs.append(GIN.Conv(emb_dim, emb_dim))
            self.batch_norms.append(nn.BatchNorm1d(emb_dim))
        self.graph_pred_linear = nn.Linear(emb_dim, 10)

    def forward(self, x, edge_index, y):
        b, n, _ = x.shape
        edge_index = flat_edges(edge_index, n)
        h_list = [self.node_encoder(x.reshape(b * n, -1))]
        for layer in range(self.num_layer):
            h = self.convs[layer](h_list[layer], edge_index)
            h = self.batch_norms[layer](h)
            if layer == self.num_layer - 1:
                h = F.dropout(h, self.drop_ratio, training=self.training)
            else:
                h = F.dropout(F.relu(h), self.drop_ratio, training=self.training)
            h += h_list[layer]
            h_list.append(h)
        node_representation = 0
        for layer in range(self.num_layer + 1):
            node_representation += h_list[layer]
        batch = torch.arange(b, device=x.device).repeat_interleave(n)
        h_graph = x.new_zeros(b, h.size(1)).index_add(0, batch, node_representation)
        return F.cross_entropy(self.graph_pred_linear(h_graph), y)


@written(edges(48, 200, 32))
class GATv2(nn.Module):
    """edge softmax through scatter_reduce and scatter_add"""
    class Conv(nn.Module):
        def __init__(self, cin, cout, heads=4, concat=True):
            super().__init__()
            self.heads, self.out_channels, self.concat, self.negative_slope, self.dropout = heads, cout, concat, 0.2, 0.6
            self.lin_l, self.lin_r = nn.Linear(cin, heads * cout), nn.Linear(cin, heads * cout)
            self.att = nn.Parameter(torch.Tensor(1, heads, cout))
            self.bias = nn.Parameter(torch.Tensor(heads * cout if concat else cout))
            nn.init.xavier_uniform_(self.att)
            nn.init.zeros_(self.bias)

        def softmax(self, src, index, num_nodes):
            index = index.view(-1, 1).expand_as(src)
            src_max = src.new_zeros(num_nodes, src.size(1)).scatter_reduce(0, index, src.detach(), reduce='amax', include_self=False)
            out = src - src_max.gather(0, index)
            out = out.exp()
            out_sum = src.new_zeros(num_nodes, src.size(1)).scatter_add(0, index, out) + 1e-16
            return out / out_sum.gather(0, index)

        def forward(self, x, edge_index):
            H, C = self.heads, self.out_channels
            N = x.size(0)
            x_l = self.lin_l(x).view(-1, H, C)
            x_r = self.lin_r(x).view(-1, H, C)
            j, i = edge_index
            x_j = x_l.index_select(0, j)
            e = x_j + x_r.index_select(0, i)
            e = F.leaky_relu(e, self.negative_slope)
            alpha = (e * self.att).sum(dim=-1)
            alpha = self.softmax(alpha, i, N)
            alpha = F.dropout(alpha, p=self.dropout, training=self.training)
            out = x_j * alpha.unsqueeze(-1)
            out = x_l.new_zeros(N, H, C).scatter_add_(0, i.view(-1, 1, 1).expand_as(out), out)
            if self.concat:
                out = out.view(-1, H * C)
            else:
                out = out.mean(dim=1)
            out += self.bias
            return out

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2, self.lin = GATv2.Conv(32, 24), GATv2.Conv(96, 48, concat=False), nn.Linear(48, 10)

    def forward(self, x, edge_index, y):
        b, n, _ = x.shape
        edge_index = flat_edges(edge_index, n)
        x = F.dropout(x.flatten(0, 1), p=0.6, training=self.training)
        x = F.elu(self.conv1(x, edge_index))
        x = F.dropout(x, p=0.6, training=self.training)
        x = self.conv2(x, edge_index)
        x = x.view(b, n, -1).max(dim=1)[0]
        return F.nll_loss(F.log_softmax(self.lin(x), dim=-1), y)


@written(lambda b, n, device: dict(head=ints(b, 16, device=device), rel=ints(b, 16, device=device), tail=ints(b, 16, device=device), neg=ints(b, 16, 8, device=device)))
class RGCN(nn.Module):
    """link prediction: the graph is a buffer, bases make the weights of relations, DistMult scores"""
    class Layer(nn.Module):
        def __init__(self, cin, cout, relations=12, bases=4):
            super().__init__()
            self.weight, self.comp = nn.Parameter(torch.Tensor(bases, cin, cout)), nn.Parameter(torch.Tensor(relations, bases))
            self.root, self.bias = nn.Parameter(torch.Tensor(cin, cout)), nn.Parameter(torch.Tensor(cout))
            self.num_relations = relations
            nn.init.xavier_uniform_(self.weight)
            nn.init.xavier_uniform_(self.comp)

        def forward(self, x, edge_index, edge_norm):
            weight = (self.comp @ self.weight.view(self.weight.size(0), -1)).view(self.num_relations, *self.weight.shape[1:])
            out = torch.zeros(x.size(0), self.bias.size(0), device=x.device, dtype=x.dtype)
            for i in range(self.num_relations):
                src, dst = edge_index[i]
                h = torch.matmul(x, weight[i])
                out = out.index_add(0, dst, h[src] * edge_norm[i].unsqueeze(-1))
            out = out + x @ self.root
            return out + self.bias

    def __init__(self, entities=1500, d=64):
        super().__init__()
        self.entity_embedding, self.relation_embedding = nn.Embedding(entities, d), nn.Parameter(torch.Tensor(12, d))
        nn.init.xavier_uniform_(self.relation_embedding, gain=nn.init.calculate_gain('relu'))
        self.register_buffer("edge_index", torch.zeros(12, 2, 300, dtype=torch.long))
        self.register_buffer("edge_norm", torch.ones(12, 300))
        self.conv1, self.conv2, self.dropout_ratio = RGCN.Layer(d, d), RGCN.Layer(d, d), 0.2

    def distmult(self, embedding, head, rel, tail):
        s = embedding[head]
        r = self.relation_embedding[rel]
        o = embedding[tail]
        return torch.sum(s * r * o, dim=-1)

    def reg_loss(self, embedding):
        return torch.mean(embedding.pow(2)) + torch.mean(self.relation_embedding.pow(2))

    def forward(self, head, rel, tail, neg):
        x = self.entity_embedding.weight
        x = F.relu(self.conv1(x, self.edge_index, self.edge_norm))
        x = F.dropout(x, p=self.dropout_ratio, training=self.training)
        x = self.conv2(x, self.edge_index, self.edge_norm)
        pos = self.distmult(x, head, rel, tail)
        negs = self.distmult(x, head.unsqueeze(-1), rel.unsqueeze(-1), neg)
        score = torch.cat([pos.unsqueeze(-1), negs], dim=-1).view(-1)
        target = torch.cat([torch.ones_like(pos).unsqueeze(-1), torch.zeros_like(negs)], dim=-1).view(-1)
        return F.binary_cross_entropy_with_logits(score, target) + 1e-2 * self.reg_loss(x)


@written(lambda b, n, device: dict(x=floats(b, 18, 15, device=device), edge_attr=floats(b, 40, 5, device=device), edge_index=ints(b, 2, 40, device=device), y=floats(b, 1, device=device)))
class MPNN(nn.Module):
    """an edge network makes matrices, a GRU updates, Set2Set reads out; three passes share weights"""
    def __init__(self, dim=48):
        super().__init__()
        self.dim, self.lin0 = dim, nn.Linear(15, dim)
        self.edge_network = nn.Sequential(nn.Linear(5, 96), nn.ReLU(), nn.Linear(96, dim * dim))
        self.w_ih, self.w_hh = nn.Linear(dim, 3 * dim), nn.Linear(dim, 3 * dim)
        self.lstm = nn.LSTMCell(2 * dim, dim)
        self.lin1, self.lin2 = nn.Linear(2 * dim, dim), nn.Linear(dim, 1)

    def gru(self, m, h):
        r1, z1, n1 = self.w_ih(m).chunk(3, dim=-1)
        r2, z2, n2 = self.w_hh(h).chunk(3, dim=-1)
        r, z = torch.sigmoid(r1 + r2), torch.sigmoid(z1 + z2)
        n = torch.tanh(n1 + r * n2)
        return (1 - z) * n + z * h

    def set2set(self, x):
        h = (x.new_zeros((x.size(0), self.dim)), x.new_zeros((x.size(0), self.dim)))
        q_star = x.new_zeros(x.size(0), 2 * self.dim)
        for _ in range(3):
            h = self.lstm(q_star, h)
            q = h[0]
            e = (x * q.unsqueeze(1)).sum(dim=-1, keepdim=True)
            a = torch.softmax(e, dim=1)
            r = (a * x).sum(dim=1)
            q_star = torch.cat([q, r], dim=-1)
        return q_star

    def forward(self, x, edge_attr, edge_index, y):
        b, n, _ = x.shape
        src, dst = flat_edges(edge_index, n)
        out = F.relu(self.lin0(x.view(b * n, -1)))
        h = out
        weight = self.edge_network(edge_attr.flatten(0, 1)).view(-1, self.dim, self.dim)
        for i in range(3):
            m = torch.matmul(out[src].unsqueeze(1), weight).squeeze(1)
            agg = torch.zeros_like(out).index_add_(0, dst, m)
            count = torch.zeros(out.size(0), device=x.device).scatter_add_(0, dst, torch.ones_like(dst, dtype=torch.float))
            m = F.relu(agg / count.clamp(min=1).unsqueeze(-1))
            h = self.gru(m, h)
            out = h
        out = self.set2set(out.view(b, n, -1))
        out = F.relu(self.lin1(out))
        out = self.lin2(out)
        return F.mse_loss(out.view(-1), y.view(-1))


@written(lambda b, n, device: dict(x=ints(b, 32, 9, device=device), in_degree=ints(b, 32, device=device), spatial_pos=ints(b, 32, 32, device=device), edge_input=ints(b, 32, 32, 5, 3, device=device), y=ints(b, device=device)))
class Graphormer(nn.Module):
    class Layer(nn.Module):
        def __init__(self, hidden=80, ffn=160, heads=8):
            super().__init__()
            self.num_heads, self.att_size, self.scale = heads, hidden // heads, (hidden // heads) ** -0.5
            self.linear_q, self.linear_k, self.linear_v, self.output_layer = (nn.Linear(hidden, hidden) for _ in range(4))
            self.att_dropout, self.dropout = nn.Dropout(0.1), nn.Dropout(0.1)
            self.norm1, self.norm2, self.layer1, self.gelu, self.layer2 = nn.LayerNorm(hidden), nn.LayerNorm(hidden), nn.Linear(hidden, ffn), nn.GELU(), nn.Linear(ffn, hidden)

        def attend(self, q, k, v, attn_bias=None):
            orig_q_size = q.size()
            d_k = d_v = self.att_size
            batch_size = q.size(0)
            q = self.linear_q(q).view(batch_size, -1, self.num_heads, d_k)
            k = self.linear_k(k).view(batch_size, -1, self.num_heads, d_k)
            v = self.linear_v(v).view(batch_size, -1, self.num_heads, d_v)
            q = q.transpose(1, 2)
            v = v.transpose(1, 2)
            k = k.transpose(1, 2).transpose(2, 3)
            q = q * self.scale
            x = torch.matmul(q, k)
            if attn_bias is not None:
                x = x + attn_bias
            x = torch.softmax(x, dim=3)
            x = self.att_dropout(x)
            x = x.matmul(v)
            x = x.transpose(1, 2).contiguous()
            x = x.view(batch_size, -1, self.num_heads * d_v)
            x = self.output_layer(x)
            assert x.size() == orig_q_size
            return x

        def forward(self, x, attn_bias=None):
            y = self.norm1(x)
            y = self.attend(y, y, y, attn_bias)
            y = self.dropout(y)
            x = x + y
            y = self.layer2(self.gelu(self.layer1(self.norm2(x))))
            y = self.dropout(y)
            return x + y

    def __init__(self, heads=8, hidden=80):
        super().__init__()
        self.num_heads = heads
        self.atom_encoder, self.edge_encoder, self.edge_dis_encoder = nn.Embedding(4608, hidden, padding_idx=0), nn.Embedding(1536, heads, padding_idx=0), nn.Embedding(5 * heads * heads, 1)
        self.spatial_pos_encoder, self.in_degree_encoder = nn.Embedding(512, heads, padding_idx=0), nn.Embedding(512, hidden, padding_idx=0)
        self.graph_token, self.graph_token_virtual_distance = nn.Embedding(1, hidden), nn.Embedding(1, heads)
        self.input_dropout, self.layers, self.final_ln = nn.Dropout(0.1), nn.ModuleList([Graphormer.Layer() for _ in range(3)]), nn.LayerNorm(hidden)
        self.out_proj = nn.Linear(hidden, 10)

    def forward(self, x, in_degree, spatial_pos, edge_input, y):
        n_graph, n_node = x.size()[:2]
        graph_attn_bias = torch.zeros(n_graph, self.num_heads, n_node + 1, n_node + 1, device=x.device, dtype=self.graph_token.weight.dtype)
        spatial_pos_bias = self.spatial_pos_encoder(spatial_pos).permute(0, 3, 1, 2)
        graph_attn_bias[:, :, 1:, 1:] = graph_attn_bias[:, :, 1:, 1:] + spatial_pos_bias
        t = self.graph_token_virtual_distance.weight.view(1, self.num_heads, 1)
        graph_attn_bias[:, :, 1:, 0] = graph_attn_bias[:, :, 1:, 0] + t
        graph_attn_bias[:, :, 0, :] = graph_attn_bias[:, :, 0, :] + t
        spatial_pos_ = spatial_pos.clone()
        spatial_pos_[spatial_pos_ == 0] = 1
        spatial_pos_ = torch.where(spatial_pos_ > 1, spatial_pos_ - 1, spatial_pos_)
        spatial_pos_ = spatial_pos_.clamp(0, 5)
        edge = self.edge_encoder(edge_input).mean(-2)
        max_dist = edge.size(-2)
        edge_flat = edge.permute(3, 0, 1, 2, 4).reshape(max_dist, -1, self.num_heads)
        edge_flat = torch.bmm(edge_flat, self.edge_dis_encoder.weight.reshape(-1, self.num_heads, self.num_heads)[:max_dist, :, :])
        edge = edge_flat.reshape(max_dist, n_graph, n_node, n_node, self.num_heads).permute(1, 2, 3, 0, 4)
        edge = (edge.sum(-2) / spatial_pos_.to(edge.dtype).unsqueeze(-1)).permute(0, 3, 1, 2)
        graph_attn_bias[:, :, 1:, 1:] = graph_attn_bias[:, :, 1:, 1:] + edge
        node_feature = self.atom_encoder(x).sum(dim=-2)
        node_feature = node_feature + self.in_degree_encoder(in_degree)
        graph_token_feature = self.graph_token.weight.unsqueeze(0).repeat(n_graph, 1, 1)
        graph_node_feature = torch.cat([graph_token_feature, node_feature], dim=1)
        output = self.input_dropout(graph_node_feature)
        for enc_layer in self.layers:
            output = enc_layer(output, graph_attn_bias)
        output = self.final_ln(output)
        return F.cross_entropy(self.out_proj(output[:, 0, :]), y)


# ---------------------------------------------------------------- tables

def sparsemax(input, dim=-1):
    """the usual one, by sorting"""
    input = input - input.max(dim=dim, keepdim=True)[0]
    rho = torch.arange(1, input.size(dim) + 1, device=input.device, dtype=input.dtype).view(1, -1)
    input_srt, _ = torch.sort(input, descending=True, dim=dim)
    input_cumsum = input_srt.cumsum(dim) - 1
    support = rho * input_srt > input_cumsum
    support_size = support.sum(dim=dim).unsqueeze(dim)
    tau = input_cumsum.gather(dim, support_size - 1)
    tau = tau / support_size.to(input.dtype)
    return torch.clamp(input - tau, min=0)


class GBN(nn.Module):
    def __init__(self, input_dim, virtual_batch_size=64, momentum=0.02):
        super().__init__()
        self.virtual_batch_size, self.bn = virtual_batch_size, nn.BatchNorm1d(input_dim, momentum=momentum)

    def forward(self, x):
        chunks = x.chunk(4, 0)
        res = [self.bn(x_) for x_ in chunks]
        return torch.cat(res, dim=0)


class GLU_Layer(nn.Module):
    def __init__(self, input_dim, output_dim, fc=None):
        super().__init__()
        self.output_dim = output_dim
        self.fc = fc if fc is not None else nn.Linear(input_dim, 2 * output_dim, bias=False)
        self.bn = GBN(2 * output_dim)

    def forward(self, x):
        x = self.fc(x)
        x = self.bn(x)
        out = torch.mul(x[:, :self.output_dim], torch.sigmoid(x[:, self.output_dim:]))
        return out


class GLU_Block(nn.Module):
    def __init__(self, input_dim, output_dim, n_glu=2, first=False, shared_layers=None):
        super().__init__()
        self.first, self.shared_layers, self.n_glu = first, shared_layers, n_glu
        self.glu_layers = nn.ModuleList()
        for glu_id in range(n_glu):
            self.glu_layers.append(GLU_Layer(input_dim if glu_id == 0 else output_dim, output_dim, fc=shared_layers[glu_id] if shared_layers else None))
        self.scale = math.sqrt(0.5)

    def forward(self, x):
        if self.first:
            x = self.glu_layers[0](x)
            layers_left = range(1, self.n_glu)
        else:
            layers_left = range(self.n_glu)
        for glu_id in layers_left:
            x = torch.add(x, self.glu_layers[glu_id](x))
            x = x * self.scale
        return x


@written(lambda b, n, device: dict(x=floats(b, 64, 54, device=device), y=ints(b, 63, device=device)))
class TabNet(nn.Module):
    def __init__(self, d=54, n_d=16, n_a=16, n_steps=3, gamma=1.3, epsilon=1e-15):
        super().__init__()
        self.n_d, self.n_steps, self.gamma, self.epsilon = n_d, n_steps, gamma, epsilon
        self.initial_bn = nn.BatchNorm1d(d, momentum=0.01)
        shared = nn.ModuleList([nn.Linear(d, 2 * (n_d + n_a), bias=False), nn.Linear(n_d + n_a, 2 * (n_d + n_a), bias=False)])
        make = lambda: nn.Sequential(GLU_Block(d, n_d + n_a, 2, first=True, shared_layers=shared), GLU_Block(n_d + n_a, n_d + n_a, 2))
        self.initial_splitter = make()
        self.feat_transformers, self.att_transformers = nn.ModuleList(), nn.ModuleList()
        for step in range(n_steps):
            self.feat_transformers.append(make())
            self.att_transformers.append(nn.ModuleDict({"fc": nn.Linear(n_a, d, bias=False), "bn": GBN(d)}))
        self.final_mapping = nn.Linear(n_d, 7, bias=False)

    def forward(self, x, y):
        x = x[:, 1:].flatten(0, 1)
        x = self.initial_bn(x)
        prior = torch.ones(x.shape, device=x.device)
        M_loss = 0
        att = self.initial_splitter(x)[:, self.n_d:]
        steps_output = []
        for step in range(self.n_steps):
            M = self.att_transformers[step]["bn"](self.att_transformers[step]["fc"](att))
            M = torch.mul(M, prior)
            M = sparsemax(M)
            M_loss += torch.mean(torch.sum(torch.mul(M, torch.log(M + self.epsilon)), dim=1))
            prior = torch.mul(self.gamma - M, prior)
            masked_x = torch.mul(M, x)
            out = self.feat_transformers[step](masked_x)
            d = nn.ReLU()(out[:, :self.n_d])
            steps_output.append(d)
            att = out[:, self.n_d:]
        M_loss /= self.n_steps
        res = torch.sum(torch.stack(steps_output, dim=0), dim=0)
        out = self.final_mapping(res)
        loss = F.cross_entropy(out, y.flatten())
        loss = loss - 1e-3 * M_loss
        return loss


@written(lambda b, n, device: dict(x_num=floats(b, 16, 8, device=device), x_cat=ints(b, 16, 6, device=device), y=floats(b, 16, device=device)))
class FTTransformer(nn.Module):
    """yandex-research/rtdl: tokens from numbers, ReGLU, prenormalization but for the first, the last layer for one token"""
    class Tokenizer(nn.Module):
        def __init__(self, d_numerical, categories, d_token, bias=True):
            super().__init__()
            d_bias = d_numerical + len(categories)
            category_offsets = torch.tensor([0] + categories[:-1]).cumsum(0)
            self.register_buffer('category_offsets', category_offsets)
            self.category_embeddings = nn.Embedding(sum(categories), d_token)
            self.weight = nn.Parameter(torch.Tensor(d_numerical + 1, d_token))
            self.bias = nn.Parameter(torch.Tensor(d_bias, d_token)) if bias else None
            nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))

        def forward(self, x_num, x_cat):
            x_some = x_num if x_cat is None else x_cat
            x_num = torch.cat([torch.ones(x_some.shape[0], 1, device=x_some.device)] + ([] if x_num is None else [x_num]), dim=1)
            x = self.weight[None] * x_num[:, :, None]
            if x_cat is not None:
                x = torch.cat([x, self.category_embeddings(x_cat + self.category_offsets[None])], dim=1)
            if self.bias is not None:
                bias = torch.cat([torch.zeros(1, self.bias.shape[1], device=x.device), self.bias])
                x = x + bias[None]
            return x

    class MultiheadAttention(nn.Module):
        def __init__(self, d, n_heads, dropout):
            super().__init__()
            self.W_q, self.W_k, self.W_v, self.W_out = nn.Linear(d, d), nn.Linear(d, d), nn.Linear(d, d), nn.Linear(d, d)
            self.n_heads, self.dropout = n_heads, nn.Dropout(dropout)

        def _reshape(self, x):
            batch_size, n_tokens, d = x.shape
            d_head = d // self.n_heads
            return x.reshape(batch_size, n_tokens, self.n_heads, d_head).transpose(1, 2).reshape(batch_size * self.n_heads, n_tokens, d_head)

        def forward(self, x_q, x_kv):
            q, k, v = self.W_q(x_q), self.W_k(x_kv), self.W_v(x_kv)
            batch_size = q.shape[0]
            d_head_key = k.shape[-1] // self.n_heads
            d_head_value = v.shape[-1] // self.n_heads
            n_q_tokens = q.shape[1]
            q = self._reshape(q)
            k = self._reshape(k)
            attention = F.softmax(q @ k.transpose(1, 2) / math.sqrt(d_head_key), dim=-1)
            attention = self.dropout(attention)
            x = attention @ self._reshape(v)
            x = x.reshape(batch_size, self.n_heads, n_q_tokens, d_head_value).transpose(1, 2).reshape(batch_size, n_q_tokens, self.n_heads * d_head_value)
            return self.W_out(x)

    def __init__(self, d=96, n_layers=3):
        super().__init__()
        self.tokenizer, self.layers = FTTransformer.Tokenizer(8, [20, 30, 40, 50, 60, 70], d), nn.ModuleList([])
        for layer_idx in range(n_layers):
            layer = nn.ModuleDict({'attention': FTTransformer.MultiheadAttention(d, 8, 0.2), 'linear0': nn.Linear(d, 2 * 128), 'linear1': nn.Linear(128, d), 'norm1': nn.LayerNorm(d)})
            if layer_idx: layer['norm0'] = nn.LayerNorm(d)
            self.layers.append(layer)
        self.last_normalization, self.head = nn.LayerNorm(d), nn.Linear(d, 1)

    def _start_residual(self, x, layer, norm_idx):
        x_residual = x
        norm_key = f'norm{norm_idx}'
        if norm_key in layer:
            x_residual = layer[norm_key](x_residual)
        return x_residual

    def _end_residual(self, x, x_residual):
        x_residual = F.dropout(x_residual, 0.1, self.training)
        return x + x_residual

    def forward(self, x_num, x_cat, y):
        x = self.tokenizer(x_num.flatten(0, 1), x_cat.flatten(0, 1))
        for layer_idx, layer in enumerate(self.layers):
            is_last_layer = layer_idx + 1 == len(self.layers)
            x_residual = self._start_residual(x, layer, 0)
            x_residual = layer['attention'](x_residual[:, :1] if is_last_layer else x_residual, x_residual)
            if is_last_layer:
                x = x[:, : x_residual.shape[1]]
            x = self._end_residual(x, x_residual)
            x_residual = self._start_residual(x, layer, 1)
            x_residual = layer['linear0'](x_residual)
            a, b = x_residual.chunk(2, dim=-1)
            x_residual = a * F.relu(b)
            x_residual = F.dropout(x_residual, 0.1, self.training)
            x_residual = layer['linear1'](x_residual)
            x = self._end_residual(x, x_residual)
        assert x.shape[1] == 1
        x = x[:, 0]
        x = F.relu(self.last_normalization(x))
        x = self.head(x)
        x = x.squeeze(-1)
        return F.mse_loss(x, y.flatten())


# ---------------------------------------------------------------- time series

def series(past, future, width): return lambda b, n, device: dict(x=floats(b, past, width, device=device), y=floats(b, future, width, device=device))


@written(lambda b, n, device: dict(x=floats(b, 16, 96, device=device), y=floats(b, 16, 24, device=device)))
class NBEATS(nn.Module):
    class Block(nn.Module):
        def __init__(self, input_size, theta_size, basis_function, layers, layer_size):
            super().__init__()
            self.layers = nn.ModuleList([nn.Linear(input_size, layer_size)] + [nn.Linear(layer_size, layer_size) for _ in range(layers - 1)])
            self.basis_parameters = nn.Linear(layer_size, theta_size)
            self.basis_function = basis_function

        def forward(self, x):
            block_input = x
            for layer in self.layers:
                block_input = torch.relu(layer(block_input))
            basis_parameters = self.basis_parameters(block_input)
            return self.basis_function(basis_parameters)

    class Trend(nn.Module):
        def __init__(self, degree, backcast_size, forecast_size):
            super().__init__()
            self.polynomial_size = degree + 1
            self.backcast_time = nn.Parameter(torch.stack([torch.pow(torch.arange(backcast_size).float() / backcast_size, i) for i in range(self.polynomial_size)]), requires_grad=False)
            self.forecast_time = nn.Parameter(torch.stack([torch.pow(torch.arange(forecast_size).float() / forecast_size, i) for i in range(self.polynomial_size)]), requires_grad=False)

        def forward(self, theta):
            backcast = torch.einsum('bp,pt->bt', theta[:, self.polynomial_size:], self.backcast_time)
            forecast = torch.einsum('bp,pt->bt', theta[:, :self.polynomial_size], self.forecast_time)
            return backcast, forecast

    class Generic(nn.Module):
        def __init__(self, backcast_size, forecast_size):
            super().__init__()
            self.backcast_size, self.forecast_size = backcast_size, forecast_size

        def forward(self, theta):
            return theta[:, :self.backcast_size], theta[:, -self.forecast_size:]

    def __init__(self):
        super().__init__()
        trend_block = NBEATS.Block(96, 8, NBEATS.Trend(3, 96, 24), 4, 128)
        self.blocks = nn.ModuleList([trend_block for _ in range(3)] + [NBEATS.Block(96, 120, NBEATS.Generic(96, 24), 4, 128) for _ in range(3)])

    def forward(self, x, y):
        x, y = x.flatten(0, 1), y.flatten(0, 1)
        residuals = x.flip(dims=(1,))
        forecast = x[:, -1:]
        for i, block in enumerate(self.blocks):
            backcast, block_forecast = block(residuals)
            residuals = (residuals - backcast)
            forecast = forecast + block_forecast
        weights = 1 / (y.abs() + forecast.detach().abs() + 1e-8)
        return 200 * torch.mean(torch.abs(forecast - y) * weights)


class series_decomp(nn.Module):
    def __init__(self, kernel_size):
        super().__init__()
        self.kernel_size, self.avg = kernel_size, nn.AvgPool1d(kernel_size=kernel_size, stride=1, padding=0)

    def forward(self, x):
        front = x[:, 0:1, :].repeat(1, (self.kernel_size - 1) // 2, 1)
        end = x[:, -1:, :].repeat(1, (self.kernel_size - 1) // 2, 1)
        x_pad = torch.cat([front, x, end], dim=1)
        moving_mean = self.avg(x_pad.permute(0, 2, 1)).permute(0, 2, 1)
        res = x - moving_mean
        return res, moving_mean


@written(series(96, 72, 7))
class AutoformerLike(nn.Module):
    """series decomposition everywhere; the attention of the Informer instead of autocorrelation"""
    class my_Layernorm(nn.Module):
        def __init__(self, channels):
            super().__init__()
            self.layernorm = nn.LayerNorm(channels)

        def forward(self, x):
            x_hat = self.layernorm(x)
            bias = torch.mean(x_hat, dim=1).unsqueeze(1).repeat(1, x.shape[1], 1)
            return x_hat - bias

    class AttentionLayer(nn.Module):
        def __init__(self, d_model, n_heads):
            super().__init__()
            self.query_projection, self.key_projection, self.value_projection, self.out_projection = (nn.Linear(d_model, d_model) for _ in range(4))
            self.n_heads, self.dropout = n_heads, nn.Dropout(0.1)

        def forward(self, queries, keys, values):
            B, L, _ = queries.shape
            _, S, _ = keys.shape
            H = self.n_heads
            queries = self.query_projection(queries).view(B, L, H, -1)
            keys = self.key_projection(keys).view(B, S, H, -1)
            values = self.value_projection(values).view(B, S, H, -1)
            scale = 1. / math.sqrt(queries.shape[-1])
            scores = torch.einsum("blhe,bshe->bhls", queries, keys)
            A = self.dropout(torch.softmax(scale * scores, dim=-1))
            V = torch.einsum("bhls,bshd->blhd", A, values)
            out = V.contiguous().view(B, L, -1)
            return self.out_projection(out)

    class Layer(nn.Module):
        def __init__(self, d_model=64, d_ff=128, decoder=False, c_out=7):
            super().__init__()
            self.attention = AutoformerLike.AttentionLayer(d_model, 4)
            self.conv1, self.conv2 = nn.Conv1d(d_model, d_ff, 1, bias=False), nn.Conv1d(d_ff, d_model, 1, bias=False)
            self.decomp1, self.decomp2, self.dropout = series_decomp(25), series_decomp(25), nn.Dropout(0.1)
            if decoder:
                self.cross, self.decomp3 = AutoformerLike.AttentionLayer(d_model, 4), series_decomp(25)
                self.projection = nn.Conv1d(d_model, c_out, kernel_size=3, stride=1, padding=1, padding_mode='circular', bias=False)

        def forward(self, x, cross=None):
            x = x + self.dropout(self.attention(x, x, x))
            x, trend1 = self.decomp1(x)
            if cross is not None:
                x = x + self.dropout(self.cross(x, cross, cross))
                x, trend3 = self.decomp3(x)
            y = x
            y = self.dropout(F.gelu(self.conv1(y.transpose(-1, 1))))
            y = self.dropout(self.conv2(y).transpose(-1, 1))
            x, trend2 = self.decomp2(x + y)
            if cross is None: return x
            residual_trend = trend1 + trend2 + trend3
            residual_trend = self.projection(residual_trend.permute(0, 2, 1)).transpose(1, 2)
            return x, residual_trend

    def __init__(self, d=64, label_len=48, pred_len=72):
        super().__init__()
        self.label_len, self.pred_len, self.decomp = label_len, pred_len, series_decomp(25)
        self.enc_embedding = nn.Conv1d(7, d, 3, padding=1, padding_mode='circular', bias=False)
        self.dec_embedding = nn.Conv1d(7, d, 3, padding=1, padding_mode='circular', bias=False)
        self.encoder, self.enc_norm = nn.ModuleList([AutoformerLike.Layer() for _ in range(2)]), AutoformerLike.my_Layernorm(d)
        self.decoder, self.dec_norm, self.projection = nn.ModuleList([AutoformerLike.Layer(decoder=True)]), AutoformerLike.my_Layernorm(d), nn.Linear(d, 7)

    def forward(self, x, y):
        mean = torch.mean(x, dim=1).unsqueeze(1).repeat(1, self.pred_len, 1)
        zeros = torch.zeros([x.shape[0], self.pred_len, x.shape[2]], device=x.device)
        seasonal_init, trend_init = self.decomp(x)
        trend = torch.cat([trend_init[:, -self.label_len:, :], mean], dim=1)
        seasonal_init = torch.cat([seasonal_init[:, -self.label_len:, :], zeros], dim=1)
        enc_out = self.enc_embedding(x.permute(0, 2, 1)).transpose(1, 2)
        for l in self.encoder: enc_out = l(enc_out)
        enc_out = self.enc_norm(enc_out)
        dec_out = self.dec_embedding(seasonal_init.permute(0, 2, 1)).transpose(1, 2)
        for layer in self.decoder:
            dec_out, residual_trend = layer(dec_out, enc_out)
            trend = trend + residual_trend
        dec_out = trend + self.projection(self.dec_norm(dec_out))
        return nn.MSELoss()(dec_out[:, -self.pred_len:, :], y)


@written(series(30, 6, 10))
class TFT(nn.Module):
    """gated residual networks, variable selection, an LSTM, interpretable attention, quantile loss"""
    class GLU(nn.Module):
        def __init__(self, d):
            super().__init__()
            self.fc1, self.fc2, self.sigmoid = nn.Linear(d, d), nn.Linear(d, d), nn.Sigmoid()

        def forward(self, x):
            sig = self.sigmoid(self.fc1(x))
            x = self.fc2(x)
            return torch.mul(sig, x)

    class GRN(nn.Module):
        def __init__(self, i, h, o):
            super().__init__()
            if i != o: self.skip_layer = nn.Linear(i, o)
            self.i, self.o = i, o
            self.fc1, self.elu1, self.fc2, self.dropout, self.bn, self.gate = nn.Linear(i, h), nn.ELU(), nn.Linear(h, o), nn.Dropout(0.1), nn.LayerNorm(o), TFT.GLU(o)

        def forward(self, x):
            residual = self.skip_layer(x) if self.i != self.o else x
            x = self.fc1(x)
            x = self.elu1(x)
            x = self.fc2(x)
            x = self.dropout(x)
            x = self.gate(x)
            x = x + residual
            x = self.bn(x)
            return x

    def __init__(self, d=32, variables=10, heads=4):
        super().__init__()
        self.variables, self.d, self.heads = variables, d, heads
        self.embeds = nn.ModuleList([nn.Linear(1, d) for _ in range(variables)])
        self.flattened_grn, self.single_variable_grns = TFT.GRN(variables * d, d, variables), nn.ModuleList([TFT.GRN(d, d, d) for _ in range(variables)])
        self.lstm, self.post_gate, self.post_norm = LSTM(d, d, batch_first=True), TFT.GLU(d), nn.LayerNorm(d)
        self.v_layer = nn.Linear(d, d // heads)
        self.q_layers, self.k_layers = nn.ModuleList([nn.Linear(d, d // heads) for _ in range(heads)]), nn.ModuleList([nn.Linear(d, d // heads) for _ in range(heads)])
        self.w_h, self.attn_gate, self.attn_norm = nn.Linear(d // heads, d, bias=False), TFT.GLU(d), nn.LayerNorm(d)
        self.pos_wise, self.output, self.quantiles = TFT.GRN(d, d, d), nn.Linear(d, 3), [0.1, 0.5, 0.9]

    def select(self, x):
        embedding = torch.cat([e(x[..., i:i + 1]) for i, e in enumerate(self.embeds)], dim=-1)
        sparse_weights = F.softmax(self.flattened_grn(embedding), dim=-1).unsqueeze(2)
        var_outputs = []
        for i in range(self.variables):
            var_outputs.append(self.single_variable_grns[i](embedding[:, :, (i * self.d):(i + 1) * self.d]))
        var_outputs = torch.stack(var_outputs, dim=-1)
        outputs = var_outputs * sparse_weights
        return outputs.sum(dim=-1), sparse_weights

    def interpretable(self, q, k, v, mask):
        heads, attns = [], []
        vs = self.v_layer(v)
        for i in range(self.heads):
            qs = self.q_layers[i](q)
            ks = self.k_layers[i](k)
            attn = torch.bmm(qs, ks.permute(0, 2, 1))
            attn = attn / math.sqrt(ks.shape[-1])
            attn = attn.masked_fill(mask, -1e9)
            attn = F.softmax(attn, dim=2)
            head = torch.bmm(attn, vs)
            heads.append(F.dropout(head, 0.1, self.training))
            attns.append(attn)
        head = torch.stack(heads, dim=2) if self.heads > 1 else heads[0]
        outputs = torch.mean(head, dim=2) if self.heads > 1 else head
        return self.w_h(outputs)

    def forward(self, x, y):
        future = y.size(1)
        selected, _ = self.select(x)
        lstm_out, _ = self.lstm(selected)
        temporal = self.post_norm(self.post_gate(lstm_out) + selected)
        t = x.size(1)
        mask = torch.triu(torch.ones(t, t, device=x.device), diagonal=1).bool().unsqueeze(0)
        attn = self.interpretable(temporal[:, -future:], temporal, temporal, mask[:, -future:])
        attn = self.attn_norm(self.attn_gate(attn) + temporal[:, -future:])
        out = self.output(self.pos_wise(attn))
        losses = []
        for i, q in enumerate(self.quantiles):
            errors = y[..., 0] - out[:, :, i]
            losses.append(torch.max((q - 1) * errors, q * errors).unsqueeze(-1))
        losses = torch.cat(losses, dim=2)
        return losses.sum(dim=2).mean()


@written(series(96, 24, 21))
class TSMixerRev(nn.Module):
    """TSMixer with reversible instance normalization"""
    def __init__(self, L=96, T=24, C=21, hidden=64, blocks=3):
        super().__init__()
        self.affine_weight, self.affine_bias, self.eps = nn.Parameter(torch.ones(C)), nn.Parameter(torch.zeros(C)), 1e-5
        self.blocks = nn.ModuleList()
        for _ in range(blocks):
            self.blocks.append(nn.ModuleList([nn.BatchNorm1d(L * C), nn.Sequential(nn.Linear(L, L), nn.ReLU(), nn.Dropout(0.1)), nn.BatchNorm1d(L * C), nn.Sequential(nn.Linear(C, hidden), nn.ReLU(), nn.Dropout(0.1), nn.Linear(hidden, C), nn.Dropout(0.1))]))
        self.output = nn.Linear(L, T)

    def forward(self, x, y):
        self.mean = torch.mean(x, dim=1, keepdim=True).detach()
        self.stdev = torch.sqrt(torch.var(x, dim=1, keepdim=True, unbiased=False) + self.eps).detach()
        x = x - self.mean
        x = x / self.stdev
        x = x * self.affine_weight
        x = x + self.affine_bias
        for norm1, temporal, norm2, feature in self.blocks:
            res = x
            h = norm1(torch.flatten(x, 1, -1)).reshape(x.shape)
            h = temporal(torch.transpose(h, 1, 2))
            x = torch.transpose(h, 1, 2) + res
            res = x
            h = norm2(torch.flatten(x, 1, -1)).reshape(x.shape)
            x = feature(h) + res
        x = self.output(torch.transpose(x, 1, 2)).transpose(1, 2)
        x = x - self.affine_bias
        x = x / (self.affine_weight + self.eps * self.eps)
        x = x * self.stdev
        x = x + self.mean
        return F.mse_loss(x, y)


@written(lambda b, n, device: dict(x=floats(b, 48, 32, device=device), y=floats(b, 32, device=device)))
class LSTNet(nn.Module):
    def __init__(self, P=48, m=32, hidR=48, hidC=48, hidS=5, Ck=6, skip=12, hw=12):
        super().__init__()
        self.P, self.m, self.hidR, self.hidC, self.hidS, self.Ck, self.skip, self.hw = P, m, hidR, hidC, hidS, Ck, skip, hw
        self.pt = (self.P - self.Ck) // self.skip
        self.conv1 = nn.Conv2d(1, self.hidC, kernel_size=(self.Ck, self.m))
        self.GRU1 = GRU(self.hidC, self.hidR)
        self.dropout = nn.Dropout(p=0.2)
        self.GRUskip = GRU(self.hidC, self.hidS)
        self.linear1 = nn.Linear(self.hidR + self.skip * self.hidS, self.m)
        self.highway = nn.Linear(self.hw, 1)

    def forward(self, x, y):
        batch_size = x.size(0)
        c = x.view(-1, 1, self.P, self.m)
        c = F.relu(self.conv1(c))
        c = self.dropout(c)
        c = torch.squeeze(c, 3)
        r = c.permute(2, 0, 1).contiguous()
        _, r = self.GRU1(r)
        r = self.dropout(torch.squeeze(r, 0))
        s = c[:, :, int(-self.pt * self.skip):].contiguous()
        s = s.view(batch_size, self.hidC, self.pt, self.skip)
        s = s.permute(2, 0, 3, 1).contiguous()
        s = s.view(self.pt, batch_size * self.skip, self.hidC)
        _, s = self.GRUskip(s)
        s = s.view(batch_size, self.skip * self.hidS)
        s = self.dropout(s)
        r = torch.cat((r, s), 1)
        res = self.linear1(r)
        z = x[:, -self.hw:, :]
        z = z.permute(0, 2, 1).contiguous().view(-1, self.hw)
        z = self.highway(z)
        z = z.view(-1, self.m)
        res = res + z
        return torch.sum(torch.abs(torch.sigmoid(res) - y))


@written(lambda b, n, device: dict(x=floats(b, 24, 5, device=device), idx=ints(b, device=device), y=floats(b, 24, device=device)))
class DeepAR(nn.Module):
    """one LSTM step after another, a Gaussian likelihood of each"""
    def __init__(self):
        super().__init__()
        self.embedding, self.lstm = nn.Embedding(370, 20), nn.ModuleList([nn.LSTMCell(25, 40), nn.LSTMCell(40, 40), nn.LSTMCell(40, 40)])
        self.dropout, self.relu = nn.Dropout(0.1), nn.ReLU()
        self.distribution_mu, self.distribution_presigma, self.distribution_sigma = nn.Linear(120, 1), nn.Linear(120, 1), nn.Softplus()

    def step(self, x, idx, hidden, cell):
        onehot_embed = self.embedding(idx)
        h = torch.cat((x, onehot_embed), dim=1)
        hs, cs = [], []
        for i, l in enumerate(self.lstm):
            h, c = l(h, (hidden[i], cell[i]))
            hs.append(h)
            cs.append(c)
            if i < 2: h = self.dropout(h)
        hidden, cell = torch.stack(hs), torch.stack(cs)
        hidden_permute = hidden.permute(1, 2, 0).contiguous().view(hidden.shape[1], -1)
        pre_sigma = self.distribution_presigma(hidden_permute)
        mu = self.distribution_mu(hidden_permute)
        sigma = self.distribution_sigma(pre_sigma)
        return torch.squeeze(mu), torch.squeeze(sigma), hidden, cell

    def forward(self, x, idx, y):
        loss = torch.zeros(1, device=x.device)
        x, labels = x.permute(1, 0, 2), y.permute(1, 0)
        hidden, cell = torch.zeros(3, x.shape[1], 40, device=x.device), torch.zeros(3, x.shape[1], 40, device=x.device)
        for t in range(x.shape[0]):
            mu, sigma, hidden, cell = self.step(x[t], idx, hidden, cell)
            likelihood = -0.5 * torch.log(2 * math.pi * sigma ** 2) - (labels[t] - mu) ** 2 / (2 * sigma ** 2)
            loss += -torch.mean(likelihood)
        return loss.squeeze() / x.shape[0]


# ---------------------------------------------------------------- sound

def spectrogram(mels, frames): return lambda b, n, device: dict(x=floats(b, 1, mels, frames, device=device), y=ints(b, device=device))


@written(lambda b, n, device: dict(spectrograms=floats(b, 1, 64, 120, device=device), labels=ints(b, 8, device=device)))
class DeepSpeech2(nn.Module):
    """the AssemblyAI tutorial: residual CNN with layer norm over features, bidirectional GRUs, CTC"""
    class CNNLayerNorm(nn.Module):
        def __init__(self, n_feats):
            super().__init__()
            self.layer_norm = nn.LayerNorm(n_feats)

        def forward(self, x):
            x = x.transpose(2, 3).contiguous()
            x = self.layer_norm(x)
            return x.transpose(2, 3).contiguous()

    class ResidualCNN(nn.Module):
        def __init__(self, cin, cout, kernel, stride, dropout, n_feats):
            super().__init__()
            self.cnn1, self.cnn2 = nn.Conv2d(cin, cout, kernel, stride, padding=kernel // 2), nn.Conv2d(cout, cout, kernel, stride, padding=kernel // 2)
            self.dropout1, self.dropout2 = nn.Dropout(dropout), nn.Dropout(dropout)
            self.layer_norm1, self.layer_norm2 = DeepSpeech2.CNNLayerNorm(n_feats), DeepSpeech2.CNNLayerNorm(n_feats)

        def forward(self, x):
            residual = x
            x = self.layer_norm1(x)
            x = F.gelu(x)
            x = self.dropout1(x)
            x = self.cnn1(x)
            x = self.layer_norm2(x)
            x = F.gelu(x)
            x = self.dropout2(x)
            x = self.cnn2(x)
            x += residual
            return x

    class BidirectionalGRU(nn.Module):
        def __init__(self, rnn_dim, hidden_size, dropout, batch_first):
            super().__init__()
            self.BiGRU = GRU(rnn_dim, hidden_size, num_layers=1, batch_first=batch_first, bidirectional=True)
            self.layer_norm, self.dropout = nn.LayerNorm(rnn_dim), nn.Dropout(dropout)

        def forward(self, x):
            x = self.layer_norm(x)
            x = F.gelu(x)
            x, _ = self.BiGRU(x)
            x = self.dropout(x)
            return x

    def __init__(self, n_feats=64, rnn_dim=96, n_class=29, stride=4, dropout=0.1):
        super().__init__()
        n_feats = n_feats // stride
        self.cnn = nn.Conv2d(1, 32, 3, stride=stride, padding=3 // 2)
        self.rescnn_layers = nn.Sequential(*[DeepSpeech2.ResidualCNN(32, 32, kernel=3, stride=1, dropout=dropout, n_feats=n_feats) for _ in range(2)])
        self.fully_connected = nn.Linear(n_feats * 32, rnn_dim)
        self.birnn_layers = nn.Sequential(*[DeepSpeech2.BidirectionalGRU(rnn_dim if i == 0 else rnn_dim * 2, rnn_dim, dropout, i == 0) for i in range(1)])
        self.classifier = nn.Sequential(nn.Linear(rnn_dim * 2, rnn_dim), nn.GELU(), nn.Dropout(dropout), nn.Linear(rnn_dim, n_class))

    def forward(self, spectrograms, labels):
        x = self.cnn(spectrograms)
        x = self.rescnn_layers(x)
        sizes = x.size()
        x = x.view(sizes[0], sizes[1] * sizes[2], sizes[3])
        x = x.transpose(1, 2)
        x = self.fully_connected(x)
        x = self.birnn_layers(x)
        x = self.classifier(x)
        output = F.log_softmax(x, dim=2)
        # the alpha recursion of CTC, written out
        labels = labels + 1
        b, u = labels.shape
        ext = torch.zeros(b, 2 * u + 1, dtype=torch.long, device=labels.device)
        ext[:, 1::2] = labels
        emit = output.gather(2, ext.unsqueeze(1).expand(-1, output.size(1), -1))
        neg = -1e5
        alpha = torch.full_like(emit[:, 0], neg)
        alpha = torch.cat([emit[:, 0, :2], alpha[:, 2:]], dim=1)
        skip = torch.zeros_like(ext, dtype=torch.bool)
        skip[:, 2:] = (ext[:, 2:] != 0) & (ext[:, 2:] != ext[:, :-2])
        for t in range(1, emit.size(1)):
            one = F.pad(alpha, (1, 0), value=neg)[:, :-1]
            two = F.pad(alpha, (2, 0), value=neg)[:, :-2].masked_fill(~skip, neg)
            alpha = torch.logsumexp(torch.stack([alpha, one, two]), dim=0) + emit[:, t]
        return -torch.logsumexp(alpha[:, -2:], dim=1).mean()


@written(lambda b, n, device: dict(x=ints(b, 24, device=device), y=floats(b, 24, 80, device=device)))
class CBHG(nn.Module):
    """Tacotron's encoder: prenet, a bank of convolutions, highways, a bidirectional GRU"""
    class BatchNormConv1d(nn.Module):
        def __init__(self, in_dim, out_dim, kernel_size, stride, padding, activation=None):
            super().__init__()
            self.conv1d = nn.Conv1d(in_dim, out_dim, kernel_size=kernel_size, stride=stride, padding=padding, bias=False)
            self.bn, self.activation = nn.BatchNorm1d(out_dim), activation

        def forward(self, x):
            x = self.conv1d(x)
            if self.activation is not None:
                x = self.activation(x)
            return self.bn(x)

    class Highway(nn.Module):
        def __init__(self, in_size, out_size):
            super().__init__()
            self.H, self.T, self.relu, self.sigmoid = nn.Linear(in_size, out_size), nn.Linear(in_size, out_size), nn.ReLU(), nn.Sigmoid()
            self.H.bias.data.zero_()
            self.T.bias.data.fill_(-1)

        def forward(self, inputs):
            H = self.relu(self.H(inputs))
            T = self.sigmoid(self.T(inputs))
            return H * T + inputs * (1.0 - T)

    class Prenet(nn.Module):
        def __init__(self, in_dim, sizes=[256, 128]):
            super().__init__()
            in_sizes = [in_dim] + sizes[:-1]
            self.layers = nn.ModuleList([nn.Linear(in_size, out_size) for (in_size, out_size) in zip(in_sizes, sizes)])
            self.relu, self.dropout = nn.ReLU(), nn.Dropout(0.5)

        def forward(self, inputs):
            for linear in self.layers:
                inputs = self.dropout(self.relu(linear(inputs)))
            return inputs

    def __init__(self, in_dim=128, K=6, projections=[128, 80]):
        super().__init__()
        self.in_dim = in_dim
        self.embedding, self.prenet = nn.Embedding(150, 256), CBHG.Prenet(256, [256, 128])
        self.embedding.weight.data.normal_(0, 0.3)
        self.relu = nn.ReLU()
        self.conv1d_banks = nn.ModuleList([CBHG.BatchNormConv1d(in_dim, in_dim, kernel_size=k, stride=1, padding=k // 2, activation=self.relu) for k in range(1, K + 1)])
        self.max_pool1d = nn.MaxPool1d(kernel_size=2, stride=1, padding=1)
        in_sizes = [K * in_dim] + projections[:-1]
        activations = [self.relu] * (len(projections) - 1) + [None]
        self.conv1d_projections = nn.ModuleList([CBHG.BatchNormConv1d(in_size, out_size, kernel_size=3, stride=1, padding=1, activation=ac) for (in_size, out_size, ac) in zip(in_sizes, projections, activations)])
        self.pre_highway, self.highways = nn.Linear(projections[-1], in_dim, bias=False), nn.ModuleList([CBHG.Highway(in_dim, in_dim) for _ in range(4)])
        self.gru, self.last_linear = GRU(in_dim, in_dim, 1, batch_first=True, bidirectional=True), nn.Linear(256, 80)

    def forward(self, x, y):
        inputs = self.prenet(self.embedding(x))
        x = inputs
        if x.size(-1) == self.in_dim:
            x = x.transpose(1, 2)
        T = x.size(-1)
        x = torch.cat([conv1d(x)[:, :, :T] for conv1d in self.conv1d_banks], dim=1)
        assert x.size(1) == self.in_dim * len(self.conv1d_banks)
        x = self.max_pool1d(x)[:, :, :T]
        for conv1d in self.conv1d_projections:
            x = conv1d(x)
        x = x.transpose(1, 2)
        if x.size(-1) != self.in_dim:
            x = self.pre_highway(x)
        x += inputs
        for highway in self.highways:
            x = highway(x)
        outputs, _ = self.gru(x)
        loss = torch.abs(self.last_linear(outputs) - y)
        return 0.5 * torch.mean(loss) + 0.5 * torch.mean(loss[:, :, :20])


@written(lambda b, n, device: dict(x=floats(b, 2, 8192, device=device), y=floats(b, 2, 2, 8192, device=device)))
class Demucs(nn.Module):
    def __init__(self, channels=16, depth=4, kernel_size=8, stride=4, growth=2, context=3):
        super().__init__()
        self.encoder, self.decoder, self.depth = nn.ModuleList(), nn.ModuleList(), depth
        activation, ch_scale, in_channels = nn.GLU(dim=1), 2, 2
        for index in range(depth):
            encode = []
            encode += [nn.Conv1d(in_channels, channels, kernel_size, stride), nn.ReLU()]
            encode += [nn.Conv1d(channels, ch_scale * channels, 1), activation]
            self.encoder.append(nn.Sequential(*encode))
            decode = []
            out_channels = in_channels if index > 0 else 2 * 2
            decode += [nn.Conv1d(channels, ch_scale * channels, context), activation]
            decode += [nn.ConvTranspose1d(channels, out_channels, kernel_size, stride)]
            if index > 0:
                decode.append(nn.ReLU())
            self.decoder.insert(0, nn.Sequential(*decode))
            in_channels = channels
            channels = int(growth * channels)
        self.bottleneck = nn.Sequential(nn.Conv1d(in_channels, 2 * in_channels, 3, padding=1), nn.GLU(dim=1))

    def center_trim(self, tensor, reference):
        reference = reference.size(-1)
        delta = tensor.size(-1) - reference
        if delta:
            tensor = tensor[..., delta // 2:-(delta - delta // 2)]
        return tensor

    def forward(self, x, y):
        mix = x
        mono = x.mean(dim=1, keepdim=True)
        mean = mono.mean(dim=-1, keepdim=True)
        std = mono.std(dim=-1, keepdim=True)
        x = (x - mean) / (1e-5 + std)
        saved = []
        for encode in self.encoder:
            x = encode(x)
            saved.append(x)
        x = self.bottleneck(x)
        for decode in self.decoder:
            skip = self.center_trim(saved.pop(-1), x)
            x = x + skip
            x = decode(x)
        x = x * std + mean
        x = x.view(x.size(0), 2, 2, x.size(-1))
        return torch.mean(torch.abs(x - self.center_trim(y, x)))


@written(lambda b, n, device: dict(x=floats(b, 128, 96, device=device), y=ints(b, device=device)))
class AudioTransformer(nn.Module):
    """AST: overlapping patches, class and distillation tokens, and spectrograms masked by the model"""
    def __init__(self, d=144):
        super().__init__()
        self.proj = nn.Conv2d(1, d, kernel_size=(16, 16), stride=(10, 10))
        self.cls_token, self.dist_token, self.pos_embed = nn.Parameter(torch.zeros(1, 1, d)), nn.Parameter(torch.zeros(1, 1, d)), nn.Parameter(torch.zeros(1, 12 * 9 + 2, d))
        self.pos_drop, self.norm = nn.Dropout(0.1), nn.LayerNorm(d)
        self.blocks = nn.ModuleList([nn.ModuleDict(dict(norm1=nn.LayerNorm(d), attn=nn.MultiheadAttention(d, 6, batch_first=True), norm2=nn.LayerNorm(d), fc1=nn.Linear(d, 4 * d), fc2=nn.Linear(4 * d, d))) for _ in range(3)])
        self.mlp_head = nn.Sequential(nn.LayerNorm(d), nn.Linear(d, 35))

    def drop_path(self, x, drop_prob=0.1):
        if drop_prob == 0. or not self.training:
            return x
        keep_prob = 1 - drop_prob
        shape = (x.shape[0],) + (1,) * (x.ndim - 1)
        random_tensor = keep_prob + torch.rand(shape, dtype=x.dtype, device=x.device)
        random_tensor.floor_()
        output = x.div(keep_prob) * random_tensor
        return output

    def forward(self, x, y):
        x = (x - (-4.26)) / (4.56 * 2)
        lam = torch.rand(x.size(0), 1, 1, device=x.device) * 0.5
        x = x * (1 - lam) + x.flip(0) * lam
        start = torch.rand(x.size(0), 1, 1, device=x.device) * 96
        frames = torch.arange(x.size(1), device=x.device).view(1, -1, 1)
        x = x.masked_fill((frames >= start) & (frames < start + 24), 0.)
        x = x.unsqueeze(1)
        x = x.transpose(2, 3)
        B = x.shape[0]
        x = self.proj(x).flatten(2).transpose(1, 2)
        cls_tokens = self.cls_token.expand(B, -1, -1)
        dist_token = self.dist_token.expand(B, -1, -1)
        x = torch.cat((cls_tokens, dist_token, x), dim=1)
        x = x + self.pos_embed
        x = self.pos_drop(x)
        for blk in self.blocks:
            h = blk["norm1"](x)
            h, _ = blk["attn"](h, h, h)
            x = x + self.drop_path(h)
            h = blk["fc2"](F.gelu(blk["fc1"](blk["norm2"](x))))
            x = x + self.drop_path(h)
        x = self.norm(x)
        x = (x[:, 0] + x[:, 1]) / 2
        x = self.mlp_head(x)
        target = F.one_hot(y, 35).float()
        l = lam.view(-1, 1)
        target = target * (1 - l) + target.flip(0) * l
        return nn.BCEWithLogitsLoss()(x, target)


@written(lambda b, n, device: dict(feats=floats(b, 48, 80, device=device), words=ints(b, 10, device=device)))
class Transducer(nn.Module):
    """RNN-T: encoder, predictor and joint network, and the lattice summed one diagonal after another"""
    def __init__(self, vocab=32, d=96):
        super().__init__()
        self.subsample = nn.Sequential(nn.Conv1d(80, d, 3, stride=2, padding=1), nn.ReLU(), nn.Conv1d(d, d, 3, stride=2, padding=1), nn.ReLU())
        self.encoder = LSTM(d, d, num_layers=1, bidirectional=True, batch_first=True)
        self.embed, self.predictor = nn.Embedding(vocab, d), LSTM(d, d, batch_first=True)
        self.fc_enc, self.fc_pred, self.tanh, self.project = nn.Linear(2 * d, 128), nn.Linear(d, 128), nn.Tanh(), nn.Linear(128, vocab)

    def joint(self, enc_state, dec_state):
        t = enc_state.size(1)
        u = dec_state.size(1)
        enc_state = enc_state.unsqueeze(2)
        dec_state = dec_state.unsqueeze(1)
        enc_state = enc_state.repeat([1, 1, u, 1])
        dec_state = dec_state.repeat([1, t, 1, 1])
        outputs = self.tanh(enc_state + dec_state)
        return self.project(outputs)

    def forward(self, feats, words):
        x = self.subsample(feats.transpose(1, 2)).transpose(1, 2)
        enc, _ = self.encoder(x)
        concat_targets = F.pad(words, pad=(1, 0, 0, 0), value=0)
        dec, _ = self.predictor(self.embed(concat_targets))
        logits = self.joint(self.fc_enc(enc), self.fc_pred(dec))
        logp = F.log_softmax(logits, dim=-1)
        b, T, U, _ = logp.shape
        blank = logp[..., 0]
        emit = logp[:, :, :-1].gather(3, words.view(b, 1, U - 1, 1).expand(-1, T, -1, -1)).squeeze(-1)
        alpha = F.pad(emit[:, 0].cumsum(1), (1, 0))
        for t in range(1, T):
            stay = alpha + blank[:, t - 1]
            row = [stay[:, 0]]
            for u in range(1, U):
                row.append(torch.logaddexp(stay[:, u], row[-1] + emit[:, t, u - 1]))
            alpha = torch.stack(row, dim=1)
        return -(alpha[:, -1] + blank[:, -1, -1]).mean()


# ---------------------------------------------------------------- memories, sets, knowledge, others

@written(lambda b, n, device: dict(x=floats(b, 8, 9, device=device), y=floats(b, 8, 8, device=device)))
class TuringMachine(nn.Module):
    """the copy task: an LSTM controller, content and location addressing, one head to read and one to write"""
    def __init__(self, N=64, M=20, h=100):
        super().__init__()
        self.N, self.M, self.h = N, M, h
        self.register_buffer('mem_bias', torch.empty(N, M).uniform_(-0.2, 0.2))
        self.controller = nn.LSTMCell(9 + M, h)
        self.lstm_h_bias, self.lstm_c_bias = nn.Parameter(torch.randn(1, h) * 0.05), nn.Parameter(torch.randn(1, h) * 0.05)
        self.fc_read, self.fc_write, self.fc_out = nn.Linear(h, M + 6), nn.Linear(h, 3 * M + 6), nn.Linear(h + M, 8)

    def address(self, memory, k, beta, g, s, gamma, w_prev):
        beta, g, s, gamma = F.softplus(beta), torch.sigmoid(g), F.softmax(s, dim=1), 1 + F.softplus(gamma)
        k = k.view(k.size(0), 1, -1)
        wc = F.softmax(beta * F.cosine_similarity(memory + 1e-16, k + 1e-16, dim=-1), dim=1)
        wg = g * wc + (1 - g) * w_prev
        t = torch.cat([wg[:, -1:], wg, wg[:, :1]], dim=1)
        ws = s[:, 0:1] * t[:, :-2] + s[:, 1:2] * t[:, 1:-1] + s[:, 2:3] * t[:, 2:]
        w = ws ** gamma
        w = torch.div(w, torch.sum(w, dim=1).view(-1, 1) + 1e-16)
        return w

    def step(self, x, state):
        read, (h, c), w_r, w_w, memory = state
        h, c = self.controller(torch.cat([x, read], dim=1), (h, c))
        k, beta, g, s, gamma = torch.split(self.fc_read(h), [self.M, 1, 1, 3, 1], dim=1)
        w_r = self.address(memory, torch.tanh(k), beta, g, s, gamma, w_r)
        read = torch.matmul(w_r.unsqueeze(1), memory).squeeze(1)
        k, beta, g, s, gamma, e, a = torch.split(self.fc_write(h), [self.M, 1, 1, 3, 1, self.M, self.M], dim=1)
        w_w = self.address(memory, torch.tanh(k), beta, g, s, gamma, w_w)
        erase = torch.bmm(w_w.unsqueeze(2), torch.sigmoid(e).unsqueeze(1))
        add = torch.bmm(w_w.unsqueeze(2), a.unsqueeze(1))
        memory = memory * (1 - erase) + add
        o = self.fc_out(torch.cat([h, read], dim=1))
        return o, (read, (h, c), w_r, w_w, memory)

    def forward(self, x, y):
        b = x.size(0)
        state = (torch.zeros(b, self.M, device=x.device), (self.lstm_h_bias.clone().repeat(b, 1), self.lstm_c_bias.clone().repeat(b, 1)),
                 torch.zeros(b, self.N, device=x.device), torch.zeros(b, self.N, device=x.device), self.mem_bias.clone().repeat(b, 1, 1))
        for t in range(x.size(1)):
            _, state = self.step(x[:, t], state)
        y_out = []
        for t in range(y.size(1)):
            o, state = self.step(torch.zeros(b, 9, device=x.device), state)
            y_out.append(o)
        return nn.BCEWithLogitsLoss()(torch.stack(y_out, dim=1), (y > 0).float())


@written(lambda b, n, device: dict(story=ints(b, 40, 10, device=device), query=ints(b, 10, device=device), answer=ints(b, device=device)))
class MemN2N(nn.Module):
    """adjacent weight sharing, position encoding, three hops"""
    def __init__(self, num_vocab=500, embedding_dim=64, max_hops=3, sentence_size=10):
        super().__init__()
        self.max_hops = max_hops
        for hop in range(max_hops + 1):
            C = nn.Embedding(num_vocab, embedding_dim, padding_idx=0)
            C.weight.data.normal_(0, 0.1)
            self.add_module("C_{}".format(hop), C)
        self.softmax = nn.Softmax(dim=1)
        i, j = torch.arange(1, embedding_dim + 1).float(), torch.arange(1, sentence_size + 1).float()
        encoding = (i[None, :] - (embedding_dim + 1) / 2) * (j[:, None] - (sentence_size + 1) / 2)
        self.register_buffer("encoding", 1 + 4 * encoding / embedding_dim / sentence_size)
        self.temporal = nn.ParameterList([nn.Parameter(torch.zeros(40, embedding_dim)) for _ in range(2)])

    def forward(self, story, query, answer):
        story_size = story.size()
        u = list()
        query_embed = self.C_0(query)
        encoding = self.encoding.unsqueeze(0).expand_as(query_embed)
        u.append(torch.sum(query_embed * encoding, 1))
        for hop in range(self.max_hops):
            embed_A = getattr(self, f"C_{hop}")(story.view(story.size(0), -1))
            embed_A = embed_A.view(story_size + (embed_A.size(-1),))
            encoding = self.encoding.unsqueeze(0).unsqueeze(1).expand_as(embed_A)
            m_A = torch.sum(embed_A * encoding, 2) + self.temporal[0]
            u_temp = u[-1].unsqueeze(1).expand_as(m_A)
            prob = self.softmax(torch.sum(m_A * u_temp, 2))
            embed_C = getattr(self, f"C_{hop + 1}")(story.view(story.size(0), -1))
            embed_C = embed_C.view(story_size + (embed_C.size(-1),))
            m_C = torch.sum(embed_C * encoding, 2) + self.temporal[1]
            prob = prob.unsqueeze(2).expand_as(m_C)
            o_k = torch.sum(m_C * prob, 1)
            u_k = u[-1] + o_k
            u.append(u_k)
        a_hat = u[-1] @ getattr(self, f"C_{self.max_hops}").weight.transpose(0, 1)
        return F.cross_entropy(a_hat, answer, reduction="sum")


@written(lambda b, n, device: dict(positive=ints(b, 8, 3, device=device), negative=ints(b, 8, 96, device=device)))
class RotatE(nn.Module):
    """KnowledgeGraphEmbedding: rotations, negatives weighed by themselves"""
    def __init__(self, nentity=2000, nrelation=40, hidden_dim=100, gamma=12.0):
        super().__init__()
        self.epsilon = 2.0
        self.gamma = nn.Parameter(torch.Tensor([gamma]), requires_grad=False)
        self.embedding_range = nn.Parameter(torch.Tensor([(gamma + self.epsilon) / hidden_dim]), requires_grad=False)
        self.entity_embedding = nn.Parameter(torch.zeros(nentity, hidden_dim * 2))
        self.relation_embedding = nn.Parameter(torch.zeros(nrelation, hidden_dim))
        nn.init.uniform_(tensor=self.entity_embedding, a=-0.14, b=0.14)
        nn.init.uniform_(tensor=self.relation_embedding, a=-0.14, b=0.14)

    def score(self, head, relation, tail):
        pi = 3.14159265358979323846
        re_head, im_head = torch.chunk(head, 2, dim=2)
        re_tail, im_tail = torch.chunk(tail, 2, dim=2)
        phase_relation = relation / (self.embedding_range / pi)
        re_relation = torch.cos(phase_relation)
        im_relation = torch.sin(phase_relation)
        re_score = re_head * re_relation - im_head * im_relation
        im_score = re_head * im_relation + im_head * re_relation
        re_score = re_score - re_tail
        im_score = im_score - im_tail
        score = torch.stack([re_score, im_score], dim=0)
        score = score.norm(dim=0)
        score = self.gamma - score.sum(dim=2)
        return score

    def triple(self, sample, negative=None):
        head = torch.index_select(self.entity_embedding, dim=0, index=sample[:, 0]).unsqueeze(1)
        relation = torch.index_select(self.relation_embedding, dim=0, index=sample[:, 1]).unsqueeze(1)
        if negative is None:
            tail = torch.index_select(self.entity_embedding, dim=0, index=sample[:, 2]).unsqueeze(1)
        else:
            batch_size, negative_sample_size = negative.size(0), negative.size(1)
            tail = torch.index_select(self.entity_embedding, dim=0, index=negative.view(-1)).view(batch_size, negative_sample_size, -1)
        return self.score(head, relation, tail)

    def forward(self, positive, negative):
        positive, negative = positive.flatten(0, 1), negative.flatten(0, 1)
        negative_score = self.triple(positive, negative)
        negative_score = (F.softmax(negative_score * 1.0, dim=1).detach() * F.logsigmoid(-negative_score)).sum(dim=1)
        positive_score = F.logsigmoid(self.triple(positive)).squeeze(dim=1)
        positive_sample_loss = - positive_score.mean()
        negative_sample_loss = - negative_score.mean()
        loss = (positive_sample_loss + negative_sample_loss) / 2
        regularization = 1e-7 * (self.entity_embedding.norm(p=3) ** 3 + self.relation_embedding.norm(p=3).norm(p=3) ** 3)
        return loss + regularization


@written(lambda b, n, device: dict(seq=ints(b, 24, device=device), target=ints(b, 24, 24, device=device)))
class Evoformer(nn.Module):
    """pairs only: triangle multiplication, triangle attention, transitions, a distogram"""
    class TriangleMultiply(nn.Module):
        def __init__(self, dim=32, mix='outgoing'):
            super().__init__()
            self.norm, self.left_proj, self.right_proj = nn.LayerNorm(dim), nn.Linear(dim, dim), nn.Linear(dim, dim)
            self.left_gate, self.right_gate, self.out_gate = nn.Linear(dim, dim), nn.Linear(dim, dim), nn.Linear(dim, dim)
            self.mix_einsum_eq = '... i k d, ... j k d -> ... i j d' if mix == 'outgoing' else '... k j d, ... k i d -> ... i j d'
            self.to_out_norm, self.to_out = nn.LayerNorm(dim), nn.Linear(dim, dim)
            for gate in (self.left_gate, self.right_gate, self.out_gate):
                nn.init.constant_(gate.weight, 0.)
                nn.init.constant_(gate.bias, 1.)

        def forward(self, x):
            x = self.norm(x)
            left = self.left_proj(x)
            right = self.right_proj(x)
            left_gate = self.left_gate(x).sigmoid()
            right_gate = self.right_gate(x).sigmoid()
            out_gate = self.out_gate(x).sigmoid()
            left = left * left_gate
            right = right * right_gate
            out = einsum(self.mix_einsum_eq, left, right)
            out = self.to_out_norm(out)
            out = out * out_gate
            return self.to_out(out)

    class TriangleAttention(nn.Module):
        def __init__(self, dim=32, heads=4, starting=True):
            super().__init__()
            self.starting, self.heads = starting, heads
            self.layer_norm, self.linear = nn.LayerNorm(dim), nn.Linear(dim, heads, bias=False)
            self.linear_q, self.linear_k, self.linear_v, self.linear_g = (nn.Linear(dim, dim, bias=False) for _ in range(4))
            self.linear_o = nn.Linear(dim, dim)

        def forward(self, x):
            if not self.starting:
                x = x.transpose(-2, -3)
            x = self.layer_norm(x)
            triangle_bias = self.linear(x).permute(0, 3, 1, 2).unsqueeze(1)
            q, k, v = self.linear_q(x), self.linear_k(x), self.linear_v(x)
            q, k, v = (t.view(t.shape[:-1] + (self.heads, -1)).transpose(-2, -3) for t in (q, k, v))
            q /= math.sqrt(q.shape[-1])
            a = torch.matmul(q, k.permute(0, 1, 2, 4, 3))
            a += triangle_bias
            a = torch.nn.functional.softmax(a, dim=-1)
            a = torch.matmul(a, v)
            o = a.transpose(-2, -3)
            g = torch.sigmoid(self.linear_g(x)).view(o.shape)
            o = o * g
            o = o.reshape(o.shape[:-2] + (-1,))
            o = self.linear_o(o)
            if not self.starting:
                o = o.transpose(-2, -3)
            return o

    def dropout_row(self, x, p=0.15, dim=-3):
        shape = list(x.shape)
        shape[dim] = 1
        mask = F.dropout(x.new_ones(shape), p, self.training)
        x *= mask
        return x

    def __init__(self, d=32):
        super().__init__()
        self.left, self.right, self.rel = nn.Embedding(24, d), nn.Embedding(24, d), nn.Embedding(65, d)
        self.blocks = nn.ModuleList([nn.ModuleDict(dict(out=Evoformer.TriangleMultiply(d), inc=Evoformer.TriangleMultiply(d, 'ingoing'), start=Evoformer.TriangleAttention(d), end=Evoformer.TriangleAttention(d, starting=False),
                                                         transition=nn.Sequential(nn.LayerNorm(d), nn.Linear(d, 4 * d), nn.ReLU(), nn.Linear(4 * d, d)))) for _ in range(2)])
        self.distogram = nn.Linear(d, 37)

    def forward(self, seq, target):
        z = self.left(seq)[..., None, :] + self.right(seq)[..., None, :, :]
        ri = torch.arange(seq.size(1), device=seq.device)
        offset = (ri[:, None] - ri[None, :]).clip(-32, 32) + 32
        z = z + self.rel(offset)
        for b in self.blocks:
            z = z + self.dropout_row(b["out"](z))
            z = z + self.dropout_row(b["inc"](z))
            z = z + self.dropout_row(b["start"](z))
            z = z + self.dropout_row(b["end"](z), dim=-2)
            z = z + b["transition"](z)
        logits = self.distogram(z)
        logits = logits + logits.transpose(-2, -3)
        errors = -1 * torch.sum(F.one_hot(target, 37) * F.log_softmax(logits, dim=-1), dim=-1)
        square_mask = (seq[..., None] >= 0) & (seq[..., None, :] >= 0)
        return torch.sum(errors * square_mask) / (1e-6 + torch.sum(square_mask))


@written(lambda b, n, device: dict(x=floats(b, 300, 2, device=device)))
class SetTransformer(nn.Module):
    """mixtures of Gaussians: ISAB, PMA, SAB; the heads are split along the batch"""
    class MAB(nn.Module):
        def __init__(self, dim_Q, dim_K, dim_V, num_heads, ln=True):
            super().__init__()
            self.dim_V, self.num_heads = dim_V, num_heads
            self.fc_q, self.fc_k, self.fc_v = nn.Linear(dim_Q, dim_V), nn.Linear(dim_K, dim_V), nn.Linear(dim_K, dim_V)
            if ln:
                self.ln0 = nn.LayerNorm(dim_V)
                self.ln1 = nn.LayerNorm(dim_V)
            self.fc_o = nn.Linear(dim_V, dim_V)

        def forward(self, Q, K):
            Q = self.fc_q(Q)
            K, V = self.fc_k(K), self.fc_v(K)
            dim_split = self.dim_V // self.num_heads
            Q_ = torch.cat(Q.split(dim_split, 2), 0)
            K_ = torch.cat(K.split(dim_split, 2), 0)
            V_ = torch.cat(V.split(dim_split, 2), 0)
            A = torch.softmax(Q_.bmm(K_.transpose(1, 2)) / math.sqrt(self.dim_V), 2)
            O = torch.cat((Q_ + A.bmm(V_)).split(Q.size(0), 0), 2)
            O = O if getattr(self, 'ln0', None) is None else self.ln0(O)
            O = O + F.relu(self.fc_o(O))
            O = O if getattr(self, 'ln1', None) is None else self.ln1(O)
            return O

    class ISAB(nn.Module):
        def __init__(self, dim_in, dim_out, num_heads, num_inds):
            super().__init__()
            self.I = nn.Parameter(torch.Tensor(1, num_inds, dim_out))
            nn.init.xavier_uniform_(self.I)
            self.mab0, self.mab1 = SetTransformer.MAB(dim_out, dim_in, dim_out, num_heads), SetTransformer.MAB(dim_in, dim_out, dim_out, num_heads)

        def forward(self, X):
            H = self.mab0(self.I.repeat(X.size(0), 1, 1), X)
            return self.mab1(X, H)

    class SAB(nn.Module):
        def __init__(self, dim, num_heads):
            super().__init__()
            self.mab = SetTransformer.MAB(dim, dim, dim, num_heads)

        def forward(self, X):
            return self.mab(X, X)

    class PMA(nn.Module):
        def __init__(self, dim, num_heads, num_seeds):
            super().__init__()
            self.S = nn.Parameter(torch.Tensor(1, num_seeds, dim))
            nn.init.xavier_uniform_(self.S)
            self.mab = SetTransformer.MAB(dim, dim, dim, num_heads)

        def forward(self, X):
            return self.mab(self.S.repeat(X.size(0), 1, 1), X)

    def __init__(self, dim=128):
        super().__init__()
        self.enc = nn.Sequential(SetTransformer.ISAB(2, dim, 4, 32), SetTransformer.ISAB(dim, dim, 4, 32))
        self.dec = nn.Sequential(nn.Dropout(), SetTransformer.PMA(dim, 4, 4), nn.Dropout(), SetTransformer.SAB(dim, 4), nn.Linear(dim, 5))

    def forward(self, x):
        pi, mu, sigma = self.dec(self.enc(x)).split([1, 2, 2], dim=-1)
        pi = torch.log_softmax(pi.squeeze(-1), -1)
        sigma = F.softplus(sigma)
        diff = x.unsqueeze(2) - mu.unsqueeze(1)
        ll = -0.5 * math.log(2 * math.pi) - sigma.unsqueeze(1).log() - 0.5 * (diff.pow(2) / sigma.unsqueeze(1).pow(2))
        ll = ll.sum(-1) + pi.unsqueeze(1)
        return -torch.logsumexp(ll, -1).mean(-1).mean()


@written(lambda b, n, device: dict(users=ints(b, 32, device=device), pos=ints(b, 32, device=device), neg=ints(b, 32, device=device)))
class LightGCN(nn.Module):
    """edges in buffers, layers averaged, BPR"""
    def __init__(self, num_users=600, num_items=900, d=64, n_layers=3):
        super().__init__()
        self.num_users, self.num_items, self.n_layers = num_users, num_items, n_layers
        self.embedding_user, self.embedding_item = nn.Embedding(num_users, d), nn.Embedding(num_items, d)
        nn.init.normal_(self.embedding_user.weight, std=0.1)
        nn.init.normal_(self.embedding_item.weight, std=0.1)
        self.register_buffer("src", torch.zeros(8000, dtype=torch.long))
        self.register_buffer("dst", torch.zeros(8000, dtype=torch.long))
        self.register_buffer("norm", torch.ones(8000, 1))

    def computer(self):
        all_emb = torch.cat([self.embedding_user.weight, self.embedding_item.weight])
        embs = [all_emb]
        for layer in range(self.n_layers):
            msg = self.norm * all_emb[self.src]
            all_emb = torch.zeros_like(all_emb).index_add_(0, self.dst, msg)
            embs.append(all_emb)
        embs = torch.stack(embs, dim=1)
        light_out = torch.mean(embs, dim=1)
        users, items = torch.split(light_out, [self.num_users, self.num_items])
        return users, items

    def forward(self, users, pos, neg):
        users, pos, neg = users.view(-1), pos.view(-1), neg.view(-1)
        all_users, all_items = self.computer()
        users_emb, pos_emb, neg_emb = all_users[users], all_items[pos], all_items[neg]
        userEmb0, posEmb0, negEmb0 = self.embedding_user(users), self.embedding_item(pos), self.embedding_item(neg)
        reg_loss = (1 / 2) * (userEmb0.norm(2).pow(2) + posEmb0.norm(2).pow(2) + negEmb0.norm(2).pow(2)) / users.size(0)
        pos_scores = torch.mul(users_emb, pos_emb)
        pos_scores = torch.sum(pos_scores, dim=1)
        neg_scores = torch.mul(users_emb, neg_emb)
        neg_scores = torch.sum(neg_scores, dim=1)
        loss = torch.mean(F.softplus(neg_scores - pos_scores))
        return loss + 1e-4 * reg_loss


@written(lambda b, n, device: dict(seq=ints(b, 50, device=device), labels=ints(b, 50, device=device)))
class BERT4Rec(nn.Module):
    """jaywonchung/BERT4Rec-VAE-Pytorch"""
    class GELU(nn.Module):
        def forward(self, x):
            return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * torch.pow(x, 3))))

    class LayerNorm(nn.Module):
        def __init__(self, features, eps=1e-6):
            super().__init__()
            self.a_2, self.b_2, self.eps = nn.Parameter(torch.ones(features)), nn.Parameter(torch.zeros(features)), eps

        def forward(self, x):
            mean = x.mean(-1, keepdim=True)
            std = x.std(-1, keepdim=True)
            return self.a_2 * (x - mean) / (std + self.eps) + self.b_2

    class Sublayer(nn.Module):
        def __init__(self, size, dropout):
            super().__init__()
            self.norm, self.dropout = BERT4Rec.LayerNorm(size), nn.Dropout(dropout)

        def forward(self, x, sublayer):
            return x + self.dropout(sublayer(self.norm(x)))

    class Attention(nn.Module):
        def forward(self, query, key, value, mask=None, dropout=None):
            scores = torch.matmul(query, key.transpose(-2, -1)) / math.sqrt(query.size(-1))
            if mask is not None:
                scores = scores.masked_fill(mask == 0, -1e9)
            p_attn = F.softmax(scores, dim=-1)
            if dropout is not None:
                p_attn = dropout(p_attn)
            return torch.matmul(p_attn, value), p_attn

    class Block(nn.Module):
        def __init__(self, hidden=128, heads=4, ff=256, dropout=0.1):
            super().__init__()
            self.d_k, self.h = hidden // heads, heads
            self.linear_layers, self.output_linear, self.attn, self.adrop = nn.ModuleList([nn.Linear(hidden, hidden) for _ in range(3)]), nn.Linear(hidden, hidden), BERT4Rec.Attention(), nn.Dropout(p=dropout)
            self.w_1, self.w_2, self.fdrop, self.activation = nn.Linear(hidden, ff), nn.Linear(ff, hidden), nn.Dropout(dropout), BERT4Rec.GELU()
            self.input_sublayer, self.output_sublayer, self.dropout = BERT4Rec.Sublayer(hidden, dropout), BERT4Rec.Sublayer(hidden, dropout), nn.Dropout(p=dropout)

        def attention(self, query, key, value, mask=None):
            batch_size = query.size(0)
            query, key, value = [l(x).view(batch_size, -1, self.h, self.d_k).transpose(1, 2) for l, x in zip(self.linear_layers, (query, key, value))]
            x, attn = self.attn(query, key, value, mask=mask, dropout=self.adrop)
            x = x.transpose(1, 2).contiguous().view(batch_size, -1, self.h * self.d_k)
            return self.output_linear(x)

        def forward(self, x, mask):
            x = self.input_sublayer(x, lambda _x: self.attention(_x, _x, _x, mask=mask))
            x = self.output_sublayer(x, lambda _x: self.w_2(self.fdrop(self.activation(self.w_1(_x)))))
            return self.dropout(x)

    def __init__(self, items=2000, hidden=128):
        super().__init__()
        self.token, self.position, self.dropout = nn.Embedding(items + 2, hidden, padding_idx=0), nn.Embedding(50, hidden), nn.Dropout(0.1)
        self.transformer_blocks, self.out = nn.ModuleList([BERT4Rec.Block() for _ in range(2)]), nn.Linear(hidden, items + 1)

    def forward(self, seq, labels):
        mask = (seq > 0).unsqueeze(1).repeat(1, seq.size(1), 1).unsqueeze(1)
        x = self.token(seq) + self.position.weight.unsqueeze(0).repeat(seq.size(0), 1, 1)
        x = self.dropout(x)
        for transformer in self.transformer_blocks:
            x = transformer.forward(x, mask)
        logits = self.out(x)
        logits = logits.view(-1, logits.size(-1))
        labels = labels.view(-1)
        return F.cross_entropy(logits, labels, ignore_index=-1)


@written(short(14))
class HyperLSTM(nn.Module):
    """a small LSTM makes the scales of a large one, layer norm in the gates; as labml writes it"""
    class Cell(nn.Module):
        def __init__(self, input_size, hidden_size, hyper_size, n_z):
            super().__init__()
            self.hyper = nn.LSTMCell(hidden_size + input_size, hyper_size)
            self.z_h, self.z_x, self.z_b = nn.Linear(hyper_size, 4 * n_z), nn.Linear(hyper_size, 4 * n_z), nn.Linear(hyper_size, 4 * n_z, bias=False)
            self.d_h, self.d_x = nn.ModuleList([nn.Linear(n_z, hidden_size, bias=False) for _ in range(4)]), nn.ModuleList([nn.Linear(n_z, hidden_size, bias=False) for _ in range(4)])
            self.d_b = nn.ModuleList([nn.Linear(n_z, hidden_size) for _ in range(4)])
            self.w_h = nn.ParameterList([nn.Parameter(torch.zeros(hidden_size, hidden_size)) for _ in range(4)])
            self.w_x = nn.ParameterList([nn.Parameter(torch.zeros(hidden_size, input_size)) for _ in range(4)])
            self.layer_norm, self.layer_norm_c = nn.ModuleList([nn.LayerNorm(hidden_size) for _ in range(4)]), nn.LayerNorm(hidden_size)

        def forward(self, x, h, c, h_hat, c_hat):
            x_hat = torch.cat((h, x), dim=-1)
            h_hat, c_hat = self.hyper(x_hat, (h_hat, c_hat))
            z_h = self.z_h(h_hat).chunk(4, dim=-1)
            z_x = self.z_x(h_hat).chunk(4, dim=-1)
            z_b = self.z_b(h_hat).chunk(4, dim=-1)
            ifgo = []
            for i in range(4):
                d_h = self.d_h[i](z_h[i])
                d_x = self.d_x[i](z_x[i])
                y = d_h * torch.einsum('ij,bj->bi', self.w_h[i], h) + d_x * torch.einsum('ij,bj->bi', self.w_x[i], x) + self.d_b[i](z_b[i])
                ifgo.append(self.layer_norm[i](y))
            i, f, g, o = ifgo
            c_next = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h_next = torch.sigmoid(o) * torch.tanh(self.layer_norm_c(c_next))
            return h_next, c_next, h_hat, c_hat

    def __init__(self, d=96, hyper=24):
        super().__init__()
        self.emb, self.cells, self.out = nn.Embedding(1000, d), nn.ModuleList([HyperLSTM.Cell(d, d, hyper, 8) for _ in range(1)]), nn.Linear(d, 1000)
        self.hidden_size, self.hyper_size = d, hyper

    def forward(self, idx, targets):
        x = self.emb(idx).transpose(0, 1)
        n_steps, batch_size = x.shape[:2]
        h = [x.new_zeros(batch_size, self.hidden_size) for _ in self.cells]
        c = [x.new_zeros(batch_size, self.hidden_size) for _ in self.cells]
        h_hat = [x.new_zeros(batch_size, self.hyper_size) for _ in self.cells]
        c_hat = [x.new_zeros(batch_size, self.hyper_size) for _ in self.cells]
        out = []
        for t in range(n_steps):
            inp = x[t]
            for layer in range(len(self.cells)):
                h[layer], c[layer], h_hat[layer], c_hat[layer] = self.cells[layer](inp, h[layer], c[layer], h_hat[layer], c_hat[layer])
                inp = h[layer]
            out.append(h[-1])
        out = torch.stack(out)
        return F.cross_entropy(self.out(out).permute(1, 2, 0), targets)


@written(lambda b, n, device: dict(x=ints(b, 20, device=device), history=floats(b, 32, 24, device=device), click=floats(b, 32, device=device), buy=floats(b, 32, device=device)))
class PLE(nn.Module):
    """multi-task: gates over shared and own experts, two towers, uncertainty weighs the losses"""
    def __init__(self, experts=3, tasks=2, d=96):
        super().__init__()
        self.user = nn.Embedding(2000, 40)
        self.shared = nn.ModuleList([nn.Sequential(nn.Linear(64, d), nn.BatchNorm1d(d), nn.ReLU()) for _ in range(experts)])
        self.specific = nn.ModuleList([nn.ModuleList([nn.Sequential(nn.Linear(64, d), nn.BatchNorm1d(d), nn.ReLU()) for _ in range(experts)]) for _ in range(tasks)])
        self.gates = nn.ModuleList([nn.Sequential(nn.Linear(64, 2 * experts), nn.Softmax(dim=1)) for _ in range(tasks)])
        self.towers = nn.ModuleDict({"click": nn.Sequential(nn.Linear(d, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 1)), "buy": nn.Sequential(nn.Linear(d, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 1))})
        self.log_vars = nn.Parameter(torch.zeros(tasks))

    def forward(self, x, history, click, buy):
        u = self.user(x).mean(dim=1, keepdim=True).expand(-1, history.size(1), -1)
        emb = torch.cat([u, history], dim=2).view(-1, 64)
        shared = [e(emb) for e in self.shared]
        labels = {"click": click, "buy": buy}
        results, losses = {}, []
        for i, (task, tower) in enumerate(self.towers.items()):
            fea = torch.cat([e(emb).unsqueeze(1) for e in self.specific[i]] + [s.unsqueeze(1) for s in shared], dim=1)
            gate = self.gates[i](emb).unsqueeze(1)
            task_fea = torch.bmm(gate, fea).squeeze(1)
            results[task] = torch.sigmoid(tower(task_fea).squeeze(1))
        results["buy"] = results["click"] * results["buy"]
        for i, task in enumerate(results):
            p, t = results[task].clamp(1e-6, 1 - 1e-6), labels[task].view(-1).sigmoid()
            loss = -(t * torch.log(p) + (1 - t) * torch.log(1 - p)).mean()
            losses.append(torch.exp(-self.log_vars[i]) * loss + self.log_vars[i])
        return sum(losses)


if __name__ == "__main__": print("\n".join(ROWS))
