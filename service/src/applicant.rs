//! The applicant, whole: what a client may send, which rules hold, what is kept in MongoDB, told by the API and exported. A
//! field is added here and nowhere else in the service.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::loan::{Cents, hundredths};
use crate::parse::{Document, ObjectIndex};
use crate::record::encode::Fields;
use crate::validate::{Faults, is_plausible_email, is_plausible_phone, optional};

/// Who asks for a loan, as a client sends it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApplicantRequest {
    /// Full name.
    #[schema(min_length = 1, max_length = 200, example = "Elke Hartmann")]
    pub name: String,
    /// E-mail address.
    #[schema(example = "elke@example.org")]
    pub email: String,
    /// Telephone number.
    #[schema(example = "+49 30 1234567")]
    pub phone: Option<String>,
    /// Yearly income, at most two decimals.
    #[schema(minimum = 0.0, example = 42_000.0)]
    pub annual_income: Option<f64>,
    /// Age in years.
    #[schema(minimum = 18, maximum = 130, example = 67)]
    pub age_years: Option<u32>,
    /// Years at the present employer.
    #[schema(minimum = 0, maximum = 60, example = 4)]
    pub employment_years: Option<u32>,
}

/// Who asked for a loan: what validation makes, MongoDB keeps and the API tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ApplicantResult)]
pub struct Applicant {
    /// Full name.
    pub name: String,
    /// E-mail address.
    pub email: String,
    /// Telephone number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phone: Option<String>,
    /// Yearly income, in hundredths.
    #[serde(rename = "annualIncomeMinor", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<i64>)]
    pub annual_income: Option<Cents>,
    /// Age in years.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age_years: Option<u32>,
    /// Years at the present employer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub employment_years: Option<u32>,
}

impl Applicant {
    /// The columns of an export.
    pub(crate) const COLUMNS: [&str; 6] = [
        "applicantName",
        "applicantEmail",
        "applicantPhone",
        "applicantAnnualIncome",
        "applicantAgeYears",
        "applicantEmploymentYears",
    ];

    /// What stands in [`Self::COLUMNS`].
    pub(crate) fn cells(self) -> [String; Self::COLUMNS.len()] {
        let whole = |number: Option<u32>| number.map_or_else(String::new, |it| it.to_string());
        let Self {
            name,
            email,
            phone,
            annual_income,
            age_years,
            employment_years,
        } = self;
        [
            name,
            email,
            phone.unwrap_or_default(),
            annual_income.map_or_else(String::new, |Cents(income)| hundredths(income)),
            whole(age_years),
            whole(employment_years),
        ]
    }

    /// Reads and checks every field of `object`; what is wrong goes to `faults`.
    pub(crate) fn read(
        document: &Document<'_>,
        object: ObjectIndex,
        faults: &mut Faults,
    ) -> Option<Self> {
        let member = |key| document.member(object, key);
        let name =
            faults.bounded_text("applicant.name", "1 to 200 characters", member("name"), 200);
        let email_rule = "an e-mail address";
        let email = faults
            .text("applicant.email", email_rule, member("email"))
            .and_then(|text| {
                let good = is_plausible_email(text).then(|| text.to_owned());
                faults.keep("applicant.email", email_rule, text, good)
            });
        let phone_rule = "a telephone number of 5 to 20 digits";
        let phone = optional(member("phone"), |field| {
            let text = faults.text("applicant.phone", phone_rule, field)?;
            let good = is_plausible_phone(text).then(|| text.to_owned());
            faults.keep("applicant.phone", phone_rule, text, good)
        });
        let annual_income = optional(member("annualIncome"), |field| {
            faults.income("applicant.annualIncome", field)
        });
        let age_years = optional(member("ageYears"), |field| {
            let rule = "an integer from 18 to 130";
            faults.integer("applicant.ageYears", rule, field, 18..=130)
        });
        let employment_years = optional(member("employmentYears"), |field| {
            let rule = "an integer from 0 to 60";
            faults.integer("applicant.employmentYears", rule, field, 0..=60)
        });
        Some(Self {
            name: name?,
            email: email?,
            phone: phone.flatten(),
            annual_income: annual_income.flatten(),
            age_years: age_years.flatten(),
            employment_years: employment_years.flatten(),
        })
    }

    /// Hides all that says who this is: texts behind `hidden`, the address behind `email`, numbers are left out. Every field
    /// is named here, or this does not compile.
    pub(crate) fn hide(&mut self, hidden: &str, email: String) {
        let Self {
            name,
            email: address,
            phone,
            annual_income,
            age_years,
            employment_years,
        } = self;
        hidden.clone_into(name);
        *address = email;
        if let Some(phone) = phone {
            hidden.clone_into(phone);
        }
        (*annual_income, *age_years, *employment_years) = (None, None, None);
    }

    /// Writes what is kept. Every field is named here, or this does not compile.
    pub(crate) fn write(&self, to: &mut Fields<'_>) {
        let Self {
            name,
            email,
            phone,
            annual_income,
            age_years,
            employment_years,
        } = self;
        to.text(c"name", name);
        to.text(c"email", email);
        if let Some(phone) = phone {
            to.text(c"phone", phone);
        }
        if let Some(income) = annual_income {
            to.integer(c"annualIncomeMinor", income.0);
        }
        if let Some(years) = age_years {
            to.integer(c"ageYears", *years);
        }
        if let Some(years) = employment_years {
            to.integer(c"employmentYears", *years);
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::loan::Category::{InvalidFormat, MissingField, OutOfRange, WrongType};
    use crate::validate::tests::{fails, with};

    prop_compose! {
        /// An applicant with any values.
        pub(crate) fn any_applicant()(
            name in ".{1,200}",
            email in ".{1,40}",
            phone in prop::option::of(".{0,40}"),
            annual_income in prop::option::of(0..=100_000_000_000_000i64),
            age_years in prop::option::of(18..=130u32),
            employment_years in prop::option::of(0..=60u32),
        ) -> Applicant {
            Applicant { name, email, phone, annual_income: annual_income.map(Cents), age_years, employment_years }
        }
    }

    /// An applicant of whom only the income matters.
    pub(crate) fn ada(annual_income: Option<Cents>) -> Applicant {
        Applicant {
            name: "Ada".to_owned(),
            email: "ada@example.org".to_owned(),
            phone: None,
            annual_income,
            age_years: None,
            employment_years: None,
        }
    }

    #[test]
    fn each_rule_fails_by_its_category() {
        for required in ["/applicant/name", "/applicant/email"] {
            fails(required, None, MissingField);
            fails(required, Value::Null, WrongType);
            fails(required, json!([1]), WrongType);
        }
        for number in [
            "/applicant/annualIncome",
            "/applicant/ageYears",
            "/applicant/employmentYears",
        ] {
            fails(number, json!("12"), WrongType);
            fails(number, json!(true), WrongType);
            fails(number, json!(-1), OutOfRange);
            fails(number, json!(1e300), OutOfRange);
        }
        fails("/applicant/ageYears", json!(17), OutOfRange);
        fails("/applicant/employmentYears", json!(61), OutOfRange);
        for value in [
            "",
            "ada",
            "ada@",
            "@example.org",
            "a b@example.org",
            "ada@example",
            "ada@-x.org",
            "ada@x-.org",
            "ada@x..org",
            "ada@.org",
            "ada@example.",
            "ada@exa mple.org",
            "ada@ex_ample.org",
            "ada@ex\u{2003}ample.org",
            "a@b@c.org",
            ".ada@example.org",
            "ada.@example.org",
            "a..b@example.org",
            "a\u{7f}b@example.org",
            "a\u{2003}b@example.org",
            "a\u{85}b@example.org",
            "a\"b@example.org",
            &format!("{}@example.org", "x".repeat(65)),
            &format!("ada@{}.org", "x".repeat(64)),
            &format!("ada@{}.org", "x.".repeat(130)),
        ] {
            fails("/applicant/email", json!(value), InvalidFormat);
        }
        for value in [
            "call me",
            "1234",
            "++12345",
            "123456789012345678901",
            "٣٣٣٣٣٣",
        ] {
            fails("/applicant/phone", json!(value), InvalidFormat);
        }
    }

    #[test]
    fn plausible_addresses_and_numbers_pass() {
        for value in [
            "a@b.c",
            "a.b+c=d@x-y.example.org",
            "jürgen@müller.example",
            &format!("{}@{}.org", "x".repeat(64), "y".repeat(63)),
        ] {
            let loan = with("/applicant/email", Some(json!(value))).unwrap();
            assert_eq!(loan.applicant.email, value);
        }
        for value in ["12345", "+49 (30) 12.34-56,7/8"] {
            let loan = with("/applicant/phone", Some(json!(value))).unwrap();
            assert_eq!(loan.applicant.phone.as_deref(), Some(value));
        }
    }

    #[test]
    fn what_need_not_be_there_may_be_missing_or_null() {
        for optional in ["phone", "annualIncome", "ageYears", "employmentYears"] {
            let pointer = format!("/applicant/{optional}");
            assert!(with(&pointer, None).is_ok());
            assert!(with(&pointer, Some(Value::Null)).is_ok());
        }
    }
}
