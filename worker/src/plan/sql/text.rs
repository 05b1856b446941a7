//! Text → syntax tree, within limits.
//!
//! Parsing, planning, evaluation and even dropping a tree recurse as deep as the text nests, and the texts are
//! untrusted. So size and nesting are bounded on the tokens, before anything recurses; what is left is parsed under a
//! recursion limit, on a stack that is large enough for it, and the tree's depth is bounded again, because chains such
//! as `a + b + c …` nest without parentheses. Chains of AND and OR may be long: they are balanced first, which changes
//! nothing about what is evaluated, since both skip their right side by the left one's value alone.

use std::any::TypeId;
use std::ops::ControlFlow;

use datafusion_sql::sqlparser::ast::{
    self, BinaryOperator, Expr, Spanned, Value, Visit, VisitMut, Visitor, VisitorMut,
};
use datafusion_sql::sqlparser::dialect::{Dialect, GenericDialect};
use datafusion_sql::sqlparser::keywords::Keyword;
use datafusion_sql::sqlparser::parser::{Parser, ParserError};
use datafusion_sql::sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, Tokenizer, Word};

use super::SqlProblem;

/// The longest text, in bytes.
const MAX_BYTES: usize = 64 * 1024;
/// The most tokens, not counting white space and comments.
const MAX_TOKENS: usize = 4096;
/// The deepest nesting of parentheses, brackets, braces and CASE.
const MAX_NESTING: usize = 32;
/// The parser's recursion: a parenthesis takes one or two levels of it.
const MAX_RECURSION: usize = 100;
/// The deepest tree.
const MAX_DEPTH: usize = 128;
/// The stack of the thread that compiles; only what is used of it becomes real memory.
const STACK_BYTES: usize = 64 * 1024 * 1024;

/// Runs a compilation on a stack that is large enough for every text within the limits.
pub(super) fn on_large_stack<T: Send>(
    work: impl FnOnce() -> Result<T, Vec<SqlProblem>> + Send,
) -> Result<T, Vec<SqlProblem>> {
    let failed = |what: &str| Err(vec![SqlProblem::new(None, format!("the text cannot be compiled: {what}"))]);
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("compile-sql".into()).stack_size(STACK_BYTES);
        match thread.spawn_scoped(scope, work).map(std::thread::ScopedJoinHandle::join) {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => failed("it makes the planner fail"),
            Err(error) => failed(&format!("no thread for it: {error}")),
        }
    })
}

/// Parses an expression.
pub(super) fn parse_expression(text: &str) -> Result<Expr, Vec<SqlProblem>> {
    let tokens = tokenize(text)?;
    if let Some(select) = first_word(&tokens).filter(|(word, _)| word.keyword == Keyword::SELECT) {
        let problem = SqlProblem::new(position(select.1.start), "a SELECT where an expression is expected");
        return Err(vec![problem.help("write the expression alone, or a transform with `sql`")]);
    }
    let mut parser = parser(tokens);
    let mut expr = parser.parse_expr().map_err(|e| vec![syntax_problem(&e, text)])?;
    let rest = parser.peek_token();
    if rest.token != Token::EOF {
        return Err(vec![after_expression(&rest)]);
    }
    bound_depth(&mut expr)?;
    Ok(expr)
}

/// Parses one statement that is a query.
pub(super) fn parse_query(text: &str) -> Result<Box<ast::Query>, Vec<SqlProblem>> {
    let tokens = tokenize(text)?;
    refuse_other_statements(&tokens)?;
    let from = tokens.iter().any(|token| matches!(&token.token, Token::Word(word) if word.keyword == Keyword::FROM));
    let mut parser = parser(tokens);
    let mut query = parser.parse_query().map_err(|e| vec![syntax_problem(&e, text)])?;
    while parser.consume_token(&Token::SemiColon) {}
    let rest = parser.peek_token();
    if rest.token != Token::EOF {
        return Err(vec![after_query(&rest, from)]);
    }
    bound_depth(&mut query)?;
    Ok(query)
}

/// A place of the parser as a problem's position.
pub(super) fn position(location: Location) -> Option<(u32, u32)> {
    let at = (u32::try_from(location.line).ok()?, u32::try_from(location.column).ok()?);
    (at.0 > 0 && at.1 > 0).then_some(at)
}

/// Where a part of the tree starts.
pub(super) fn start_of(node: &impl Spanned) -> Option<(u32, u32)> {
    let span: Span = node.span();
    position(span.start)
}

fn tokenize(text: &str) -> Result<Vec<TokenWithSpan>, Vec<SqlProblem>> {
    if text.len() > MAX_BYTES {
        let found = format!("the text is {} bytes long; at most {MAX_BYTES} are compiled", text.len());
        return Err(vec![SqlProblem::new(None, found).help(SPLIT)]);
    }
    if text.trim().is_empty() {
        return Err(vec![SqlProblem::new(None, "the text is empty").help("an expression or a SELECT is expected")]);
    }
    let tokens = Tokenizer::new(&StreamSql, text)
        .tokenize_with_location()
        .map_err(|e| vec![SqlProblem::new(position(e.location), lower_first(&e.message))])?;
    bound_tokens(&tokens)?;
    Ok(tokens)
}

const SPLIT: &str = "split it over several transforms";

fn bound_tokens(tokens: &[TokenWithSpan]) -> Result<(), Vec<SqlProblem>> {
    let (mut count, mut nesting) = (0_usize, 0_usize);
    for token in tokens.iter().filter(|t| !matches!(t.token, Token::Whitespace(_))) {
        count += 1;
        match token.token {
            Token::LParen | Token::LBracket | Token::LBrace => nesting += 1,
            Token::RParen | Token::RBracket | Token::RBrace => nesting = nesting.saturating_sub(1),
            Token::Word(ref word) if word.keyword == Keyword::CASE => nesting += 1,
            Token::Word(ref word) if word.keyword == Keyword::END => nesting = nesting.saturating_sub(1),
            _ => {}
        }
        let problem = match (count > MAX_TOKENS, nesting > MAX_NESTING) {
            (true, _) => format!("the text has more than {MAX_TOKENS} words and signs"),
            (_, true) => format!("parentheses or CASEs are nested more than {MAX_NESTING} deep"),
            _ => continue,
        };
        return Err(vec![SqlProblem::new(position(token.span.start), problem).help(SPLIT)]);
    }
    Ok(())
}

fn parser(tokens: Vec<TokenWithSpan>) -> Parser<'static> {
    Parser::new(&StreamSql).with_recursion_limit(MAX_RECURSION).with_tokens_with_locations(tokens)
}

fn first_word(tokens: &[TokenWithSpan]) -> Option<(&Word, Span)> {
    match tokens.iter().find(|t| !matches!(t.token, Token::Whitespace(_) | Token::SemiColon))? {
        TokenWithSpan { token: Token::Word(word), span } => Some((word, *span)),
        _ => None,
    }
}

/// Statements that are no queries are refused by their first word: most of them would not even parse here.
fn refuse_other_statements(tokens: &[TokenWithSpan]) -> Result<(), Vec<SqlProblem>> {
    let Some((word, span)) = first_word(tokens) else { return Ok(()) };
    if matches!(word.keyword, Keyword::SELECT | Keyword::WITH | Keyword::VALUES | Keyword::TABLE) {
        return Ok(());
    }
    let problem = match word.keyword {
        Keyword::NoKeyword => format!("unexpected `{}`", word.value),
        _ => format!("{} cannot run in a stream", word.value.to_uppercase()),
    };
    let problem = SqlProblem::new(position(span.start), problem);
    Err(vec![problem.help("a stream runs `SELECT … FROM node WHERE …`; where the rows go is said by the sinks")])
}

fn after_expression(rest: &TokenWithSpan) -> SqlProblem {
    let at = position(rest.span.start);
    match &rest.token {
        Token::Word(word) if word.keyword == Keyword::WHEN => {
            SqlProblem::new(at, "a CASE without END").help("write CASE WHEN condition THEN value ELSE value END")
        }
        token => SqlProblem::new(at, format!("unexpected `{token}` after the expression"))
            .help("one expression is expected, such as `value > 10 AND kind = 'temp'`"),
    }
}

fn after_query(rest: &TokenWithSpan, has_from: bool) -> SqlProblem {
    let at = position(rest.span.start);
    match &rest.token {
        Token::Word(word) if matches!(word.keyword, Keyword::SELECT | Keyword::INSERT | Keyword::CREATE) => {
            SqlProblem::new(at, "several statements").help("a transform is one SELECT; write a transform for each")
        }
        token => {
            let problem = SqlProblem::new(at, format!("unexpected `{token}` after the SELECT"));
            if has_from { problem } else { problem.help("FROM is missing: `SELECT … FROM node`") }
        }
    }
}

/// What the parser says, in the words of this module.
fn syntax_problem(error: &ParserError, whole: &str) -> SqlProblem {
    let text = match error {
        ParserError::TokenizerError(text) | ParserError::ParserError(text) => text,
        ParserError::RecursionLimitExceeded => {
            return SqlProblem::new(None, "the text is nested too deep").help(SPLIT);
        }
    };
    let (message, at) = match text.rsplit_once(" at Line: ") {
        Some((message, at)) => (message, parse_location(at)),
        None if text.ends_with("EOF") => (text.as_str(), Some(end_of(whole))),
        None => (text.as_str(), None),
    };
    let message = message.replace("Expected: ", "expected ").replace("found: ", "found ");
    SqlProblem::new(at, lower_first(&message.replace("found EOF", "found the end of the text")))
}

/// The place behind a text's last character.
fn end_of(text: &str) -> (u32, u32) {
    let text = text.trim_end();
    let last = text.rsplit('\n').next().unwrap_or_default();
    (text.matches('\n').count() as u32 + 1, last.chars().count() as u32 + 1)
}

fn parse_location(text: &str) -> Option<(u32, u32)> {
    let (line, column) = text.split_once(", Column: ")?;
    Some((line.trim().parse().ok()?, column.trim().parse().ok()?))
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}

/// Balances chains of AND and OR, then refuses what is still too deep.
fn bound_depth<T: Visit + VisitMut>(tree: &mut T) -> Result<(), Vec<SqlProblem>> {
    let _ = VisitMut::visit(tree, &mut Balance);
    let mut depth = Depth { now: 0 };
    match Visit::visit(tree, &mut depth) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(at) => {
            let problem = format!("the expression is nested more than {MAX_DEPTH} deep");
            Err(vec![SqlProblem::new(at, problem).help(SPLIT)])
        }
    }
}

struct Depth {
    now: usize,
}

impl Visitor for Depth {
    type Break = Option<(u32, u32)>;

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Self::Break> {
        self.now += 1;
        if self.now > MAX_DEPTH { ControlFlow::Break(start_of(expr)) } else { ControlFlow::Continue(()) }
    }

    fn post_visit_expr(&mut self, _: &Expr) -> ControlFlow<Self::Break> {
        self.now -= 1;
        ControlFlow::Continue(())
    }
}

struct Balance;

impl VisitorMut for Balance {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::BinaryOp { op: op @ (BinaryOperator::And | BinaryOperator::Or), .. } = expr {
            let op = op.clone();
            let whole = std::mem::replace(expr, Expr::Value(Value::Null.with_empty_span()));
            let operands = flatten(whole, &op);
            *expr = rebuild(operands.into_iter(), &op);
        }
        ControlFlow::Continue(())
    }
}

/// The operands of a chain, in order, however it is nested without parentheses.
fn flatten(whole: Expr, chain: &BinaryOperator) -> Vec<Expr> {
    let (mut open, mut operands) = (vec![whole], Vec::new());
    while let Some(part) = open.pop() {
        match part {
            Expr::BinaryOp { left, op, right } if op == *chain => open.extend([*right, *left]),
            operand => operands.push(operand),
        }
    }
    operands
}

fn rebuild(mut operands: std::vec::IntoIter<Expr>, op: &BinaryOperator) -> Expr {
    fn build(operands: &mut std::vec::IntoIter<Expr>, count: usize, op: &BinaryOperator) -> Option<Expr> {
        if count < 2 {
            return operands.next();
        }
        let (left, right) = (build(operands, count / 2, op)?, build(operands, count - count / 2, op)?);
        Some(Expr::BinaryOp { left: Box::new(left), op: op.clone(), right: Box::new(right) })
    }
    let count = operands.len();
    build(&mut operands, count, op).unwrap_or_else(|| Expr::Value(Value::Null.with_empty_span()))
}

/// The parser's generic dialect without what would read comments as code or guess at unfinished lists.
#[derive(Debug)]
struct StreamSql;

impl Dialect for StreamSql {
    fn dialect(&self) -> TypeId {
        TypeId::of::<GenericDialect>()
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        ch.is_alphabetic() || ch == '_'
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        ch.is_alphanumeric() || ch == '_'
    }

    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        ch == '"' || ch == '`'
    }

    fn supports_string_escape_constant(&self) -> bool {
        true
    }

    fn supports_select_wildcard_except(&self) -> bool {
        true
    }

    fn supports_select_wildcard_exclude(&self) -> bool {
        true
    }

    fn supports_group_by_expr(&self) -> bool {
        true
    }

    fn supports_filter_during_aggregation(&self) -> bool {
        true
    }

    fn supports_window_function_null_treatment_arg(&self) -> bool {
        true
    }

    fn supports_window_clause_named_window_reference(&self) -> bool {
        true
    }

    fn supports_dictionary_syntax(&self) -> bool {
        true
    }

    fn supports_struct_literal(&self) -> bool {
        true
    }

    fn supports_array_typedef_with_brackets(&self) -> bool {
        true
    }

    fn supports_bitwise_shift_operators(&self) -> bool {
        true
    }

    fn supports_comma_separated_trim(&self) -> bool {
        true
    }

    fn allow_extract_custom(&self) -> bool {
        true
    }

    fn allow_extract_single_quotes(&self) -> bool {
        true
    }

    fn supports_lambda_functions(&self) -> bool {
        true
    }
}
